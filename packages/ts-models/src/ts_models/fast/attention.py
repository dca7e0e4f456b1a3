"""Causal attention on a CPU, with dropout or without, by the compiled kernels of `kernels/attention.py`.

PyTorch's fused kernel also multiplies the masked half, and does not support dropout. The sums are the same in another order;
weights are dropped with probability p, rounded to 2^-32. One number of torch's global generator is the key of a call's draws.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import available, load_kernels, split
from .dropout import LEVELS, draw_key

_MANY = 16
"""Tokens of a row from which the kernel pays for its call."""


def attention_fits(q: Tensor) -> bool:
    """Whether the kernels take these queries: float32 on the CPU, neither compiled nor traced by torch, enough tokens, not empty, with Numba."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and q.device.type == "cpu"
        and q.dtype == torch.float32
        and q.shape[2] >= _MANY
        and q.numel() > 0
        and available()
    )


def fused_causal_attention(q: Tensor, k: Tensor, v: Tensor, p: float = 0.0, scale: float | None = None) -> Tensor:
    """q, k, v [batch, heads, T, D] → [batch, heads, T, D]; a weight is dropped with probability p."""
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    dropped = round(p * LEVELS)
    return _FusedAttention.apply(q, k, v, factor, dropped, draw_key() if dropped else 0)  # type: ignore[no-any-return, no-untyped-call]


class _FusedAttention(torch.autograd.Function):
    """Keeps q, k, v, the output, and of each query the logarithm of its sum."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, factor: float, dropped: int, key: int) -> Tensor:
        batch, heads, time, width = q.shape
        out = q.new_empty(batch, time, heads, width).transpose(1, 2)
        logs = q.new_empty(batch * heads, time)
        ctx.save_for_backward(q, k, v, out, logs)
        ctx.options = (time, width, factor, key, dropped, LEVELS / (LEVELS - dropped))
        _call("attention_forward", batch * heads, (q, k, v, out), (logs,), ctx.options)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *saved, logs = ctx.saved_tensors
        batch, heads, time, width = grad.shape
        grads = grad.new_empty(3, batch, time, heads, width)
        _call("attention_backward", batch * heads, (*saved, grad), (logs, grads.view(-1)), ctx.options)
        return (*grads.transpose(2, 3).unbind(), None, None, None)


def _call(name: str, jobs: int, tensors: Sequence[Tensor], whole: Sequence[Tensor], options: tuple[Any, ...]) -> None:
    """Call a kernel with the heads shared out among torch's number of threads."""
    lines = [x.detach() if x.stride(-1) == 1 else x.detach().contiguous() for x in tensors]
    strides = np.array([(x.shape[1], *x.stride()[:3]) for x in lines])
    kernel = getattr(load_kernels("attention"), name)
    split(kernel, jobs, torch.get_num_threads(), *map(_flat, lines), strides, *(x.numpy() for x in whole), *options)


def _flat(x: Tensor) -> Any:
    """The tensor's memory from its first value to its last, as one numpy array."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return x.as_strided([extent], [1]).numpy()
