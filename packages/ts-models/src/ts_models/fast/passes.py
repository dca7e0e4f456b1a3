"""RMS norm and rotation for training on a CPU, in few passes over the values.

The norm takes seven passes, where PyTorch's `rms_norm` takes a dozen; the rotation of queries and keys two forward and two backward.
"""

from typing import Any

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [..., width], weight [width] → x / sqrt(mean(x²) + eps) · weight."""
    return _RMSNorm.apply(x, weight, eps)  # type: ignore[no-any-return, no-untyped-call]


class _RMSNorm(torch.autograd.Function):
    """y = w x r with r = 1 / sqrt(mean(x²) + eps). Keeps x, w and r."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        rate = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, rate)
        scaled: Tensor = x * rate
        return scaled.mul_(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """dw = sum of dy x r over the tokens; dx = dy w r - x r³ mean(dy w x)."""
        x, weight, rate = ctx.saved_tensors
        both = (grad * x).reshape(-1, x.shape[-1])
        pull = (both @ weight).view_as(rate).mul_(rate.pow(3)).div_(x.shape[-1])
        return (grad * weight).mul_(rate).addcmul_(x, pull, value=-1), rate.reshape(-1) @ both, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x cos + (-second half, first half) sin; its gradient is the rotation back. Keeps the table alone for backward."""
    return _Rotation.apply(x, cos, sin)  # type: ignore[no-any-return, no-untyped-call]


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate(grad, cos, sin, -1), None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    """x cos + sign · (-second half, first half) sin."""
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-sign)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:], value=sign)
    return out
