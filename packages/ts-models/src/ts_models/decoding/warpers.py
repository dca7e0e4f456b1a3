"""Filters that shape a distribution before something is drawn from it: temperature, top-k, top-p, min-p.

Each takes logits `[rows, vocab]` and returns logits; a token that is filtered out becomes -inf.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..schemas import GenerationConfig

__all__ = ["draw", "keep_min_p", "keep_top_k", "keep_top_p", "warp"]


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k likeliest tokens (Fan et al. 2018); of equals at the border, all."""
    if k >= logits.shape[-1]:
        return logits
    threshold = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probability reaches p, at least one (Holtzman et al. 2020)."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    chances = ordered.softmax(dim=-1)
    before = chances.cumsum(dim=-1) - chances
    drop = before >= p
    drop[..., 0] = False
    return logits.masked_fill(drop.scatter(-1, order, drop), -torch.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest (Nguyen et al. 2024)."""
    chances = logits.softmax(dim=-1)
    return logits.masked_fill(chances < p * chances.amax(dim=-1, keepdim=True), -torch.inf)


def warp(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Temperature, then top-k, top-p, min-p: transformers' order."""
    if config.temperature != 1:
        logits = logits / config.temperature
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
    """
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    target = uniforms * (1 - 1e-12) * cumulative[:, -1]
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
