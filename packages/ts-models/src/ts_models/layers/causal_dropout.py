"""Causal attention with dropout on its weights, for training on a CPU.

`scaled_dot_product_attention` has no fused path for dropout on a CPU: it builds whole [batch, heads, time, time]
matrices and draws a Bernoulli variable for every entry, also for those that the causal mask hides. Here the same sum is
taken in blocks of queries, which leaves out the hidden half but for the diagonal, a few rows of the batch at a time, so
that a block stays in the cache; the draws are those of `dropout`. The result has the same distribution.

Letters: N batch · heads, T time, D head width, Q queries of a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .dropout import draw_bits, keep_mask, scale

__all__ = ["causal_attention_with_dropout"]

_QUERIES = 64
_BLOCK = 262_144  # attention weights in a block (1 MB of float32)


def causal_attention_with_dropout(q: Tensor, k: Tensor, v: Tensor, dropped: int, factor: float | None = None) -> Tensor:
    """q, k, v [batch, heads, T, D] → [batch, heads, T, D]; a weight is dropped with probability dropped / 65,536."""
    factor = 1.0 / math.sqrt(q.shape[-1]) if factor is None else factor
    return _CausalAttention.apply(q, k, v, dropped, factor)  # type: ignore[no-any-return, no-untyped-call]


class _CausalAttention(torch.autograd.Function):
    """Keeps q, k, v, the output, and per block the softmax and the random bits."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, dropped: int, factor: float) -> Tensor:
        out = torch.empty_like(v, memory_format=torch.contiguous_format)
        blocks: list[Tensor] = []
        for rows in _row_groups(q):
            flat_q, flat_k, flat_v, flat_out = (_flat(x[rows]) for x in (q, k, v, out))
            for start, end in _query_blocks(q.shape[2]):
                weights = _softmax(flat_q[:, start:end] * factor, flat_k[:, :end], start)
                bits = draw_bits(weights.numel()).view(weights.shape)
                noise = keep_mask(bits, dropped, torch.empty_like(weights)).mul_(weights)
                flat_out[:, start:end] = torch.bmm(noise, flat_v[:, :end]).mul_(scale(dropped))
                blocks += [weights, bits]
        ctx.save_for_backward(q, k, v, out, *blocks)
        ctx.dropped, ctx.factor = dropped, factor
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, out, *blocks = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
        grad_k.zero_(), grad_v.zero_()
        kept, saved = scale(ctx.dropped), iter(blocks)
        for rows in _row_groups(q):
            flat = [_flat(x[rows]) for x in (q, k, v, out, grads[0], grad_q, grad_k, grad_v)]
            for start, end in _query_blocks(q.shape[2]):
                _block_backward(flat, start, end, next(saved), next(saved), ctx.dropped, ctx.factor, kept)
        return grad_q, grad_k, grad_v, None, None


def _block_backward(
    flat: list[Tensor], start: int, end: int, weights: Tensor, bits: Tensor, dropped: int, factor: float, kept: float
) -> None:
    """Add one block's part to the gradients. With W the softmax, M the mask times `kept` and O = (W∘M) V:
    dV = (W∘M)ᵀ dO, and dS = W ∘ (M ∘ dO Vᵀ - rowsum(dO ∘ O)) is the gradient of the scores."""
    q, k, v, out, grad, grad_q, grad_k, grad_v = flat
    do = grad[:, start:end]
    mask = keep_mask(bits, dropped, torch.empty_like(weights))
    delta = (do * out[:, start:end]).sum(-1, keepdim=True)
    ds = torch.bmm(do, v[:, :end].transpose(1, 2)).mul_(mask).mul_(kept)
    ds.sub_(delta).mul_(weights)
    # baddbmm_ into a slice would go through the batch matrix by matrix
    grad_v[:, :end].add_(torch.bmm(mask.mul_(weights).transpose(1, 2), do), alpha=kept)
    grad_q[:, start:end] = torch.bmm(ds, k[:, :end]).mul_(factor)
    grad_k[:, :end].add_(torch.bmm(ds.transpose(1, 2), q[:, start:end]), alpha=factor)


def _softmax(q: Tensor, k: Tensor, start: int) -> Tensor:
    """Scaled queries [N, Q, D] and keys [N, end, D] → weights [N, Q, end], zero where the key comes after the query."""
    scores = torch.bmm(q, k.transpose(1, 2))
    size = q.shape[1]
    hidden = torch.full((size, size), -math.inf, dtype=q.dtype).triu_(1)
    scores[:, :, start:].add_(hidden)
    return torch.softmax(scores, dim=-1)


def _row_groups(q: Tensor) -> Iterator[slice]:
    batch, heads, time, _ = q.shape
    rows = max(1, _BLOCK // (heads * min(time, _QUERIES) * time))
    return (slice(row, row + rows) for row in range(0, batch, rows))


def _query_blocks(time: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _QUERIES, time)) for start in range(0, time, _QUERIES))


def _flat(x: Tensor) -> Tensor:
    """[rows, heads, T, D] → [rows · heads, T, D] (a view where it can be)."""
    return x.reshape(-1, *x.shape[2:])
