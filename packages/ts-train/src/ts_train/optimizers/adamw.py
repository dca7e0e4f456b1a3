"""AdamW over all parameters, with decay on matrices only."""

import torch
from torch import nn

from ..schemas import AdamWConfig
from . import Optimizers


def build(model: nn.Module, config: AdamWConfig, vocab_size: int, precision: str) -> Optimizers:
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and id(parameter) not in embeddings
            (decayed if matrix or config.decay_all else kept).append(parameter)
    part = adamw(
        [(decayed, config.weight_decay), (kept, 0.0)], lr=config.lr, betas=config.betas, eps=config.eps, fused=config.fused
    )
    return Optimizers([part], [])


def adamw(
    groups: list[tuple[list[nn.Parameter], float]], *, lr: float, betas: tuple[float, float], eps: float, fused: bool
) -> torch.optim.AdamW:
    """torch's AdamW over (parameters, weight decay) pairs; empty ones are left out."""
    listed = [{"params": parameters, "weight_decay": decay} for parameters, decay in groups if parameters]
    return torch.optim.AdamW(listed, lr=lr, betas=betas, eps=eps, fused=fused, foreach=False if not fused else None)
