"""The loss: the sum over real tokens, in nats; the caller divides once, by the tokens of the whole optimizer step.

The gradient of the logits is computed together with the loss, in chunks that stay in the cache: one pass over the
largest tensor of a small language model where `cross_entropy` makes four.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .data.batches import IGNORED

CHUNK_BYTES = 1 << 19
"""Half a typical second-level cache: a chunk of logits is read, exponentiated and written back while it is there."""


def nll_sum(
    logits: Tensor, targets: Tensor, *, weights: Tensor | None = None, soft: Tensor | None = None, in_place: bool = False
) -> Tensor:
    """Sum of -log p(target) over the places whose target is not IGNORED. Scalar, float32.

    Args:
        logits: `[batch, time, vocab]`, any float type.
        targets: int64 `[batch, time]`.
        weights: float32 `[batch, time]`, factor of each place; None is 1.
        soft: float32 `[batch, time, vocab]`, probabilities to learn beside the target, which has what they lack to 1; logits may be more.
        in_place: reuse the memory of the logits for their gradient. Only sound where nothing else reads that memory:
            no view of a parameter, no operation that keeps its output for its own backward pass.
    """
    flat, wanted = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    factors = None if weights is None else weights.reshape(-1)
    others = None if soft is None else soft.reshape(len(flat), -1)
    trains = torch.is_grad_enabled() and logits.requires_grad
    if not trains or flat.device.type != "cpu" or flat.dtype != torch.float32:
        reduction = "sum" if factors is None and others is None else "none"
        nats = torch.nn.functional.cross_entropy(flat.float(), wanted, ignore_index=IGNORED, reduction=reduction)
        if others is not None:
            crossed = -(others * torch.log_softmax(flat.float(), dim=1)[:, : others.shape[1]]).sum(1)
            nats = torch.where(wanted == IGNORED, 0, nats * (1 - others.sum(1)) + crossed)
        return nats.sum() if factors is None else (nats * factors).sum()
    loss: Tensor = _ChunkedNLL.apply(flat, wanted, factors, others, in_place)  # type: ignore[no-untyped-call]
    return loss


def first_uses(ids: Tensor, targets: Tensor, vocab_size: int) -> Tensor:
    """Whether a target is the first use, in its story, of a token of the story's prompt: bool `[batch, time]`, for rows of one story."""
    told, words = targets != IGNORED, targets.clamp_min(0)
    before = (~told).roll(1, 1).int()  # a place with the prompt's last token has a loss
    asked = torch.zeros(len(ids), vocab_size, dtype=torch.int32, device=ids.device).scatter_add_(1, ids, before)
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    latest = torch.full_like(asked, ids.shape[1], dtype=torch.int64)
    first = latest.scatter_reduce_(1, words, places.masked_fill(~told, ids.shape[1]), "amin")
    return told & (asked.gather(1, words) > 0) & (first.gather(1, words) == places)


class _ChunkedNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, weights: Tensor | None, soft: Tensor | None, in_place: bool) -> Tensor:
        grad = logits.detach()  # the same memory
        if not in_place:
            grad = grad.clone(memory_format=torch.contiguous_format)
        total = torch.zeros((), dtype=torch.float64)
        rows = max(16, CHUNK_BYTES // (4 * logits.shape[1]))
        for start in range(0, len(logits), rows):
            part = slice(start, start + rows)
            factors, others = (None if each is None else each[part] for each in (weights, soft))
            total += _chunk(grad[part], targets[part], factors, others)
        ctx.grad = grad
        return total.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        grad, ctx.grad = ctx.grad, None
        if grad is None:
            raise RuntimeError("the gradient of this loss was already used: call nll_sum again for a second backward pass")
        return grad.mul_(upstream), None, None, None, None


def _chunk(logits: Tensor, targets: Tensor, weights: Tensor | None, soft: Tensor | None) -> Tensor:
    """Loss of some rows; their logits become softmax - wanted probabilities, times the weights, zero where ignored."""
    real = targets != IGNORED
    index = targets.clamp_min(0)[:, None]
    picked = logits.gather(1, index)[:, 0]
    log_norm = torch.logsumexp(logits, dim=1)
    own = torch.ones_like(picked)  # the target's probability
    if soft is not None:
        own -= soft.sum(1)
        picked = own * picked + (soft * logits[:, : soft.shape[1]]).sum(1)
    loss = torch.where(real, log_norm - picked, 0.0)
    total = (loss if weights is None else loss * weights).sum(dtype=torch.float64)
    logits.sub_(log_norm[:, None]).exp_()
    if soft is not None:
        logits[:, : soft.shape[1]].sub_(soft)
    logits.scatter_add_(1, index, -own[:, None])
    if weights is not None:
        logits.mul_((weights * real)[:, None])
    elif not bool(real.all()):
        logits.mul_(real[:, None])
    return total
