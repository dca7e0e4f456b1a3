"""Prompts of several lengths as one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["pad_right"]


def pad_right(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids `[prompts, longest]`, 0 behind shorter ones, and lengths `[prompts]`."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.as_tensor(list(prompt))
    return ids, lengths
