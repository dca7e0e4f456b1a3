"""Normalisation over the last dimension."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..schemas import TransformerConfig

__all__ = ["make_norm"]


def make_norm(config: TransformerConfig, width: int | None = None) -> nn.Module:
    """A layer norm or RMS norm (Zhang & Sennrich 2019) over `width` values (default: d_model)."""
    size = width or config.d_model
    if config.norm == "rmsnorm":
        return RMSNorm(size, eps=config.norm_eps)
    return nn.LayerNorm(size, eps=config.norm_eps, bias=config.bias)


class RMSNorm(nn.RMSNorm):
    """torch's, with the weight in the input's number format: under autocast it would differ, and lose the fused kernel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return F.rms_norm(x, self.normalized_shape, weight, self.eps)
