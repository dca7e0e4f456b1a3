"""Filters that shape a distribution before something is drawn from it: temperature, top-k, top-p, min-p.

Each takes logits `[rows, vocab]` and returns logits; a token that is filtered out becomes -inf.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..schemas import GenerationConfig

__all__ = ["draw", "keep_min_p", "keep_top_k", "keep_top_p", "warp"]

_RUN = 32
_BELOW_ONE = 1 - 1e-12
_COLD, _LEAST = 1e-4, 1e-30
"""Below `_COLD` the largest logit is taken off first, so that nothing overflows; float32 holds no factor beyond 1 / `_LEAST`."""


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k likeliest tokens (Fan et al. 2018); of equals at the border, all."""
    size = logits.shape[-1]
    if k >= size:
        return logits
    if logits.device.type == "cpu":  # numpy selects and sorts floats by vector instructions: five to ten times as fast
        threshold = torch.from_numpy(np.partition(logits.numpy(), size - k, axis=-1)[:, size - k, None])
    else:
        threshold = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the likeliest tokens that together reach probability p, at least one (Holtzman et al. 2020); of equals at the border, all."""
    chances = logits.softmax(dim=-1)
    if chances.device.type == "cpu":
        ordered = torch.from_numpy(np.sort(chances.numpy(), axis=-1)).flip(-1)
    else:
        ordered = chances.sort(dim=-1, descending=True).values
    kept = (ordered.cumsum(dim=-1) - ordered < p).sum(dim=-1, keepdim=True).clamp(min=1)
    return logits.masked_fill(chances < ordered.gather(1, kept - 1), -torch.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest (Nguyen et al. 2024)."""
    chances = logits.softmax(dim=-1)
    return logits.masked_fill(chances < p * chances.amax(dim=-1, keepdim=True), -torch.inf)


def warp(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Temperature, then top-k, top-p, min-p: transformers' order."""
    if config.temperature < _COLD:
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / max(config.temperature, _LEAST)
    elif config.temperature != 1:
        logits = logits / min(config.temperature, 1 / _LEAST)
    if config.top_k:
        logits = keep_top_k(logits, config.top_k)
    if config.top_p < 1:
        logits = keep_top_p(logits, config.top_p)
    if config.min_p > 0:
        logits = keep_min_p(logits, config.min_p)
    return logits


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """One token per row by inversion: the first whose cumulative probability passes the row's number in [0, 1).

    Shapes: logits `[rows, vocab]`, uniforms `[rows]` float64 → ids `[rows]`. A token of probability 0 is never drawn.
    First the run of 32 tokens is found in which that happens, then the token: a sum in order over all would take the longest.
    """
    chances = logits.softmax(dim=-1)
    runs = F.pad(chances, (0, -chances.shape[1] % _RUN)).view(len(chances), -1, _RUN)
    ends = runs.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    target = uniforms[:, None] * _BELOW_ONE * ends[:, -1:]
    run = torch.searchsorted(ends, target, right=True)
    inside = runs[torch.arange(len(runs), device=runs.device), run[:, 0]].double().cumsum(dim=-1)
    rest = inside[:, -1:] - (ends.gather(1, run) - target)
    place = torch.searchsorted(inside, torch.minimum(rest.clamp(min=0), inside[:, -1:] * _BELOW_ONE), right=True)
    return (run * _RUN + place)[:, 0]
