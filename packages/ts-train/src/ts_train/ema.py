"""An exponential moving average of the weights, and the swap that validates and saves it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


class WeightAverage:
    """average = decay * average + (1 - decay) * weight after every step; a young average trusts new weights more."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._weights = [p.detach() for p in model.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After optimizer step `step` (from 1)."""
        decay = min(self.decay, step / (step + 9))
        torch._foreach_lerp_(list(self.average.values()), self._weights, 1 - decay)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """The model with the average in place of its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.model.named_parameters():
            held = parameter.clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(held)
