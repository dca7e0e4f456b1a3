"""RMS norm on a CPU in seven passes over the values, where PyTorch's `rms_norm` takes a dozen."""

from __future__ import annotations

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
