"""Dropout by the compiled kernel. 32 bits hashed from a key and the value's place decide each draw; backward hashes them again.

`F.dropout` on a CPU draws one Bernoulli variable after another, some 14 ns each, which doubles a training step. The
distribution is the same; p is rounded to 2^-32, and the survivors are scaled by the rounded rate. The key comes from torch's
global generator, so `torch.manual_seed` repeats the draws.
"""

from typing import Any

import torch
from torch import Tensor

from . import available, load_kernels, split

LEVELS = 2**32
"""Values of the kernels' random bits."""
_PER_THREAD = 64
"""Chunks of 4,096 values from which a second thread pays for its call."""


def dropout_fits(x: Tensor) -> bool:
    """Whether the kernel takes this tensor: contiguous float32 on the CPU, not under torch.compile, with Numba."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.is_contiguous()
        and not torch.compiler.is_compiling()
        and available()
    )


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each value with probability p and scale the others by 1 / (1 - p)."""
    return _Dropout.apply(x, round(p * LEVELS), draw_key())  # type: ignore[no-any-return, no-untyped-call]


def draw_key() -> int:
    """The key of one call's draws, from torch's global generator."""
    return int(torch.randint(2**63 - 1, (), device="cpu"))


class _Dropout(torch.autograd.Function):
    """Keeps the key alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int, key: int) -> Tensor:
        ctx.options = (key, dropped, LEVELS / (LEVELS - dropped))
        out = torch.empty_like(x)
        _run(x.detach(), out.detach(), ctx.options)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        grad = grad.contiguous()
        out = torch.empty_like(grad)
        _run(grad, out, ctx.options)
        return out, None, None


def _run(x: Tensor, out: Tensor, options: tuple[int, int, float]) -> None:
    module = load_kernels("dropout")
    chunks = -(-x.numel() // module.CHUNK)
    threads = max(1, min(torch.get_num_threads(), chunks // _PER_THREAD))
    split(module.drop, chunks, threads, x.view(-1).numpy(), out.view(-1).numpy(), *options)
