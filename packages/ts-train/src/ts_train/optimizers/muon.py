"""Muon for hidden matrices, AdamW for embeddings, output layer, norms and biases.

Muon orthogonalises a matrix as a whole, so a fused query-key-value matrix is handed to it in three parts: parameters
that view its rows. https://kellerjordan.github.io/posts/muon/
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from .._machine import computes_bf16, multiplies_bf16
from ..schemas import MuonConfig
from . import Optimizers
from ._newton_schulz import BatchedMuon
from .adamw import adamw

__all__ = ["build", "fused_rows"]

FUSED = frozenset({"in_proj_weight", "qkv", "qkv_proj", "wqkv", "c_attn", "in_proj"})


def build(model: nn.Module, config: MuonConfig, vocab_size: int, precision: str) -> Optimizers:
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    views: list[tuple[nn.Parameter, nn.Parameter, slice]] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim != 2 or id(parameter) in embeddings or parameter.shape[0] == vocab_size:
            rest.append(parameter)
            continue
        parts = fused_rows(model, name, parameter)
        for rows in parts:
            view = parameter if len(parts) == 1 else nn.Parameter(parameter.data[rows])
            matrices.append(view)
            if view is not parameter:
                views.append((parameter, view, rows))
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(
            BatchedMuon(
                matrices,
                lr=config.lr,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                ns_steps=config.ns_steps,
                dtype=_iteration_dtype(precision, matrices[0].device),
                cautious=config.cautious,
            )
        )
    small = [p for p in rest if p.ndim < 2]
    large = [p for p in rest if p.ndim >= 2]
    if rest:
        optimizers.append(
            adamw(
                [(large, config.adamw_weight_decay), (small, 0.0)],
                lr=config.adamw_lr,
                betas=config.adamw_betas,
                eps=config.adamw_eps,
                fused=config.fused,
            )
        )
    return Optimizers(optimizers, views)


def _iteration_dtype(precision: str, device: torch.device) -> torch.dtype:
    """bfloat16, which the iteration tolerates by design, in a run in bf16 on hardware that has it; else float32.

    A run in fp32 stays fp32 here too: in bfloat16 the losses of two ranks leave those of one by more than 1e-5.
    """
    has_bf16 = computes_bf16() if device.type == "cpu" else multiplies_bf16(device)
    return torch.bfloat16 if precision == "bf16" and has_bf16 else torch.float32


def fused_rows(model: nn.Module, name: str, matrix: torch.Tensor) -> list[slice]:
    """The rows of q, k and v in a fused matrix, known by its name; one slice of all rows for any other matrix.

    Sizes come from the attention module (`heads`, `kv_heads`, `width`, as in ts-models), else q, k and v are alike.
    """
    path = name.removesuffix(".weight").split(".")
    height = matrix.shape[0]
    if path[-1] not in FUSED:
        return [slice(0, height)]
    owner = model.get_submodule(".".join(path[:-1]))
    heads, kv_heads, width = (getattr(owner, field, None) for field in ("heads", "kv_heads", "width"))
    if heads and kv_heads and width and (heads + 2 * kv_heads) * width == height:
        cuts = [0, heads * width, (heads + kv_heads) * width, height]
    elif height % 3 == 0:
        cuts = [0, height // 3, 2 * height // 3, height]
    else:
        return [slice(0, height)]
    return [slice(start, end) for start, end in itertools.pairwise(cuts)]
