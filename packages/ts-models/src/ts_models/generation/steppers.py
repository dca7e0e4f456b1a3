"""Steppers: run a network over prompts, then token by token, and keep its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import ConfigError
from ..fast.decode import FastStepper
from ..fast.speculate import SpeculativeStepper
from ..fast.weights import fits
from ..state import pad_right


class Stepper(Protocol):
    """Runs a network for the generation loop."""

    def start(self, prompts: Sequence[Sequence[int]], room: int, *, per_prompt: int) -> Tensor:
        """Read the prompts; logits `[prompts · per_prompt, vocab]` after each, every prompt repeated `per_prompt` times.

        `room`: most tokens that any row will hold. The caller may change the logits in place.
        """
        ...

    def step(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        """Keep the named rows in that order (None: all as they are), append one token to each; logits `[rows, vocab]`."""
        ...


class TorchStepper:
    """Any network, on any device, through its own `forward` and state."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.device = next(network.parameters()).device

    def start(self, prompts: Sequence[Sequence[int]], room: int, *, per_prompt: int) -> Tensor:
        """See Stepper."""
        ids, lengths = pad_right(prompts)
        ids, lengths = ids.to(self.device), lengths.to(self.device)
        ragged = len(set(lengths.tolist())) > 1
        self.state = self.network.init_state(len(prompts), room)
        hidden = self.network.hidden(ids, state=self.state, lengths=lengths if ragged else None)
        last = hidden[torch.arange(len(prompts), device=self.device), lengths - 1]
        logits: Tensor = self.network.logits(last).float()
        if per_prompt > 1:
            rows = torch.arange(len(prompts), device=self.device).repeat_interleave(per_prompt)
            self.state.reorder(rows)
            logits = logits[rows]
        return logits

    def step(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        """See Stepper."""
        if rows is not None:
            self.state.reorder(rows)
        logits: Tensor = self.network(tokens[:, None], state=self.state)[:, 0].float()
        return logits


def make_stepper(network: Any, *, precision: str = "float32", draft: Any = None) -> Stepper:
    """The fastest stepper for a network where it is: kernels for a float32 Transformer on the CPU, else its own forward.

    `draft`: a smaller network of the same vocabulary that guesses the next tokens, where the kernels run both.
    """
    traced = "hidden" in vars(network)  # by `trace`, which the kernels know nothing of
    if fits(network) and not traced:
        if draft is not None and fits(draft):
            return SpeculativeStepper(network, draft, precision=precision)
        return FastStepper(network, precision=precision)
    if precision != "float32":
        raise ConfigError(
            f"precision {precision!r} is for float32 Transformers on the CPU; this network is stepped in its own format."
        )
    return TorchStepper(network)
