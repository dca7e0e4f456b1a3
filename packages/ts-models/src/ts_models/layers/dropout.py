"""Dropout (Srivastava et al. 2014), and on the CPU a cheap way to draw it.

`F.dropout` on the CPU draws one Bernoulli variable after another, some 14 ns each, which doubles a training step. Here
one fill of random bits serves four values per 64-bit word: a value is dropped when its 16 bits, read as a number, lie
under p · 65,536. The distribution is the same but for p, which is rounded to 1/65,536 (the survivors are scaled by
the rounded rate, so the mean is exact). Draws come from torch's global generator: `torch.manual_seed` repeats them.
On other devices, and under torch.compile, PyTorch's own dropout is used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Dropout", "cheap_here", "draw_bits", "keep_mask", "threshold"]

_LEVELS = 65_536
_CHUNK = 131_072  # values: the mask of a chunk (512 KB of float32) stays in the cache, a whole one would be fresh memory


class Dropout(nn.Module):
    """Zeroes each value with probability p in training. It may overwrite its input: give it a tensor nobody else needs."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same shape."""
        if not self.training or threshold(self.p) == 0:
            return x
        if cheap_here(x):
            return _CheapDropout.apply(x, threshold(self.p))  # type: ignore[no-any-return, no-untyped-call]
        return F.dropout(x, self.p, True)

    def extra_repr(self) -> str:
        """For printing."""
        return f"p={self.p}"


def cheap_here(x: Tensor) -> bool:
    """Whether the cheap draw is used for this tensor."""
    return x.device.type == "cpu" and x.is_contiguous() and not torch.compiler.is_compiling()


def threshold(p: float) -> int:
    """How many of the 65,536 values of 16 bits mean "dropped"."""
    return round(p * _LEVELS)


def scale(dropped: int) -> float:
    """What the survivors are multiplied by."""
    return _LEVELS / (_LEVELS - dropped)


def draw_bits(size: int) -> Tensor:
    """`size` uniform int16 values, [size]."""
    words = torch.empty((size + 3) // 4, dtype=torch.int64)
    return words.random_(-(2**63), None).view(torch.int16)[:size]


def keep_mask(bits: Tensor, dropped: int, out: Tensor) -> Tensor:
    """1 where a value survives, 0 where it is dropped, in the shape and number format of `out`."""
    return torch.ge(bits, dropped - _LEVELS // 2, out=out)


def _multiply(x: Tensor, bits: Tensor, dropped: int) -> None:
    """x *= mask · scale, in place, chunk by chunk; x is flat."""
    buffer = torch.empty(min(_CHUNK, x.numel()), dtype=x.dtype)
    for values, chunk in zip(torch.split(x, _CHUNK), torch.split(bits, _CHUNK), strict=True):
        mask = keep_mask(chunk, dropped, buffer[: len(values)])
        values.mul_(mask.mul_(scale(dropped)))


class _CheapDropout(torch.autograd.Function):
    """Overwrites its input; keeps the random bits (2 bytes a value) for backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        bits = draw_bits(x.numel())
        _multiply(x.view(-1), bits, dropped)
        ctx.mark_dirty(x)
        ctx.save_for_backward(bits)
        ctx.dropped = dropped
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (bits,) = ctx.saved_tensors
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        _multiply(grad.view(-1), bits, ctx.dropped)
        return grad, None
