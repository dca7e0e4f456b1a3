"""Normalisation over the last dimension."""

from __future__ import annotations

from torch import nn

from ..schemas import TransformerConfig

__all__ = ["make_norm"]


def make_norm(config: TransformerConfig, width: int | None = None) -> nn.Module:
    """A layer norm or RMS norm (Zhang & Sennrich 2019) over `width` values (default: d_model)."""
    size = width or config.d_model
    if config.norm == "rmsnorm":
        return nn.RMSNorm(size, eps=config.norm_eps)
    return nn.LayerNorm(size, eps=config.norm_eps, bias=config.bias)
