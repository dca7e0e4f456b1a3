"""What every network offers: ids in, logits out; a state to go on from; generation from ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..schemas import ModelConfig

__all__ = ["StoryModel"]


class StoryModel(nn.Module):
    """A small causal language model. Subclasses define `forward` and `init_state`."""

    config: ModelConfig

    def __init__(self, config: ModelConfig, *, torchtune: bool = True) -> None:
        """torchtune: train `rope-embedding` through torchtune's module; False takes our own, equal to 1e-6."""
        super().__init__()
        self.config = config

    def forward(self, ids: Tensor, *, state: Any = None, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """ids [batch, time] int64 → logits [batch, time, vocab_size].

        Everything is causal, so right padding needs no mask: only its own logits are meaningless.
        state: go on from it, and append these tokens to it (see `init_state`).
        segments [batch, time]: packed documents, numbered in rows; a token sees its own document only, and positions
            start again in each. Not together with `state`.
        lengths [batch]: with `state`, how many of the `time` tokens of each row are real; the rest is padding.
        """
        raise NotImplementedError

    def init_state(self, batch: int, max_length: int) -> Any:
        """An empty state for `batch` rows of up to `max_length` tokens, on the model's device."""
        raise NotImplementedError

    def generate(self, ids: Sequence[Sequence[int]] | Tensor, **options: Any) -> list[list[int]]:
        """Go on from prompts of ids; `options` are the fields of GenerationConfig. Gives the new ids of each story."""
        from ..decoding import generate

        return generate(self, ids, **options)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number format."""
        return next(self.parameters()).dtype
