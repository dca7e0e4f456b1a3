"""Normalisation over the last dimension."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fast.passes import rms_norm
from ..schemas import TransformerConfig


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

    def __init__(self, size: int, *, eps: float) -> None:
        super().__init__(size, eps=eps)
        self.epsilon = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → the same shape."""
        plain = x.device.type != "cpu" or x.dtype != self.weight.dtype or torch.compiler.is_compiling()
        if plain or torch.is_autocast_enabled("cpu"):
            return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
        return rms_norm(x, self.weight, self.epsilon)
