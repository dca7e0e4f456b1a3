"""Dropout (Srivastava et al. 2014), and on the CPU two cheap ways to draw it.

`F.dropout` on the CPU draws one Bernoulli variable after another, some 14 ns each, which doubles a training step. Here a
value is dropped when its random bits, read as a number, lie under p times the number of values they may have:

- in float32 with Numba, 32 bits hashed from a key and the value's place, drawn again in backward (`_kernels/dropout.py`);
- else 16 bits, of which one fill of torch's generator serves four per 64-bit word.

The distribution is the same but for p, which is rounded to 2^-32 or 2^-16 (the survivors are scaled by the rounded
rate, so the mean is exact). Key and bits come from torch's global generator: `torch.manual_seed` repeats them.
On other devices, and under torch.compile, PyTorch's own dropout is used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._kernels import of_training, split

__all__ = ["LEVELS", "Dropout", "cheap_here", "draw_bits", "draw_key", "keep_mask", "threshold", "training_kernels"]

LEVELS = 2**32
"""Values of the compiled kernels' random bits."""
_LEVELS = 65_536
_PER_THREAD = 64  # chunks of 4,096 values from which a second thread pays for its call
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
        if cheap_here(x) and x.dtype == torch.float32 and of_training("dropout") is not None:
            return _CompiledDropout.apply(x, round(self.p * LEVELS), draw_key())  # type: ignore[no-any-return, no-untyped-call]
        if cheap_here(x):
            return _CheapDropout.apply(x, threshold(self.p))  # type: ignore[no-any-return, no-untyped-call]
        return F.dropout(x, self.p, True)

    def extra_repr(self) -> str:
        """For printing."""
        return f"p={self.p}"


def cheap_here(x: Tensor) -> bool:
    """Whether the cheap draw is used for this tensor."""
    return x.device.type == "cpu" and x.is_contiguous() and not torch.compiler.is_compiling()


def training_kernels() -> str:
    """What attention and dropout train with on a CPU: `compiled` by Numba, or `torch`."""
    return "torch" if of_training("dropout") is None else "compiled"


def threshold(p: float) -> int:
    """How many of the 65,536 values of 16 bits mean "dropped"."""
    return round(p * _LEVELS)


def scale(dropped: int) -> float:
    """What the survivors are multiplied by."""
    return _LEVELS / (_LEVELS - dropped)


def draw_key() -> int:
    """What the compiled kernels' draws of one call follow from."""
    return int(torch.randint(2**63 - 1, (), device="cpu"))


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


class _CompiledDropout(torch.autograd.Function):
    """Overwrites its input; keeps the key alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int, key: int) -> Tensor:
        ctx.options = (key, dropped, LEVELS / (LEVELS - dropped))
        _drop(x.detach(), x.detach(), ctx.options)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        grad = grad.contiguous()
        out = torch.empty_like(grad)
        _drop(grad, out, ctx.options)
        return out, None, None


def _drop(x: Tensor, out: Tensor, options: tuple[int, int, float]) -> None:
    kernels: Any = of_training("dropout")
    chunks = -(-x.numel() // kernels.CHUNK)
    threads = max(1, min(torch.get_num_threads(), chunks // _PER_THREAD))
    split(kernels.drop, chunks, threads, x.view(-1).numpy(), out.view(-1).numpy(), *options)
