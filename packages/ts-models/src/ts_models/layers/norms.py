"""Normalisation over the last dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..schemas import TransformerConfig

__all__ = ["RMSNorm", "make_norm"]


def make_norm(config: TransformerConfig, width: int | None = None) -> nn.Module:
    """A layer norm or RMS norm (Zhang & Sennrich 2019) over `width` values (default: d_model)."""
    size = width or config.d_model
    if config.norm == "rmsnorm":
        return RMSNorm(size, eps=config.norm_eps)
    return nn.LayerNorm(size, eps=config.norm_eps, bias=config.bias)


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm`, which PyTorch has no CPU kernel for: it runs a dozen passes, the same formula by hand takes seven.

    Elsewhere torch's, with the weight in the input's number format: under autocast it would differ, and lose the fused kernel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → the same shape."""
        plain = x.device.type != "cpu" or x.dtype != self.weight.dtype or torch.compiler.is_compiling()
        if plain or torch.is_autocast_enabled("cpu"):
            return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
        return _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-any-return, no-untyped-call]


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
