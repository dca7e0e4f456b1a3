"""Muon for hidden matrices, AdamW for embeddings, output layer, norms and biases.

Muon orthogonalises a whole matrix, so a fused query-key-value matrix is split into three parameters that view its rows. https://kellerjordan.github.io/posts/muon/
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ts_models.fast.linear import has_onednn, product

from ..runtime.hardware import computes_bf16, multiplies_bf16
from ..schemas import MuonConfig
from . import Optimizers
from .adamw import adamw

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
        muon = BatchedMuon(
            matrices, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, ns_steps=config.ns_steps,
            dtype=_iteration_dtype(precision, matrices[0].device), cautious=config.cautious,
        )  # fmt: skip
        optimizers.append(muon)
    small = [p for p in rest if p.ndim < 2]
    large = [p for p in rest if p.ndim >= 2]
    if rest:
        groups = [(large, config.adamw_weight_decay), (small, 0.0)]
        optimizers.append(adamw(groups, lr=config.adamw_lr, betas=config.adamw_betas, eps=config.adamw_eps, fused=config.fused))
    return Optimizers(optimizers, views)


def _iteration_dtype(precision: str, device: torch.device) -> torch.dtype:
    """bfloat16 for a run in bf16 on hardware that has it, else float32.

    A run in fp32 stays in fp32: in bfloat16 the losses of two ranks differ from those of one by more than 1e-5.
    """
    has_bf16 = computes_bf16() if device.type == "cpu" else multiplies_bf16(device)
    return torch.bfloat16 if precision == "bf16" and has_bf16 else torch.float32


def fused_rows(model: nn.Module, name: str, matrix: torch.Tensor) -> list[slice]:
    """The rows of q, k and v in a fused matrix (recognised by name); one slice of all rows for any other matrix.

    Sizes come from the attention module (`heads`, `kv_heads`, `head_dim`, as in ts-models), else q, k and v are alike.
    """
    path = name.removesuffix(".weight").split(".")
    height = matrix.shape[0]
    if path[-1] not in FUSED:
        return [slice(0, height)]
    owner = model.get_submodule(".".join(path[:-1]))
    heads, kv_heads, head_dim = (getattr(owner, field, None) for field in ("heads", "kv_heads", "head_dim"))
    if heads and kv_heads and head_dim and (heads + 2 * kv_heads) * head_dim == height:
        cuts = [0, heads * head_dim, (heads + kv_heads) * head_dim, height]
    elif height % 3 == 0:
        cuts = [0, height // 3, 2 * height // 3, height]
    else:
        return [slice(0, height)]
    return [slice(start, end) for start, end in itertools.pairwise(cuts)]


COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, chosen for the steepest slope at zero: https://kellerjordan.github.io/posts/muon/"""


class BatchedMuon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled by sqrt(max(1, rows / columns)); decoupled weight decay.

    Updates all matrices of a shape at once. The arithmetic is that of `torch.optim.Muon`, which updates matrices one by one and always
    in bfloat16: thirty times slower on a CPU without bfloat16 units.

    The learning rate may be a tensor on the parameters' device, as in torch's own optimizers.
    """

    label = "muon"

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float, ns_steps: int,
        dtype: torch.dtype, cautious: bool = False,
    ) -> None:  # fmt: skip
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "ns_steps": ns_steps, "dtype": dtype}
        super().__init__(params, {**defaults, "cautious": cautious})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for matrices in shapes.values():
                self._step_shape(matrices, group)

    def _step_shape(self, matrices: list[nn.Parameter], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in matrices if p.grad is not None]
        weights: list[Tensor] = list(matrices)
        buffers = [self._buffer(p) for p in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, buffers, group["momentum"])
        updates = orthogonalise(torch.stack(list(nesterov)), steps=group["ns_steps"], dtype=group["dtype"])
        rows, columns = matrices[0].shape
        if group["weight_decay"] and group["cautious"]:
            shrinks = torch.stack(weights).mul_(updates) > 0
            torch._foreach_mul_(weights, list((1 - group["lr"] * group["weight_decay"] * shrinks).unbind()))
        elif group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        rate, scale = group["lr"], max(1.0, rows / columns) ** 0.5
        if isinstance(rate, Tensor):
            torch._foreach_add_(weights, list(updates.mul(-rate * scale).unbind()))
        else:
            torch._foreach_add_(weights, list(updates.unbind()), alpha=-rate * scale)

    def _buffer(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def orthogonalise(matrices: Tensor, *, steps: int, dtype: torch.dtype, eps: float = 1e-7) -> Tensor:
    """Approximate U V^T of each matrix U S V^T, `[matrices, rows, columns]`, by Newton–Schulz iteration."""
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    exact = dtype == torch.float32 and x.device.type == "cpu"
    times = product if exact and has_onednn() else _matmul
    iterate = _iterate_gram if exact and 2 * x.shape[2] > 3 * x.shape[1] else _iterate
    if x.device.type == "cpu" and (times is product or dtype == torch.bfloat16):  # faster there than a batch of them
        x = torch.stack([iterate(matrix, steps, times) for matrix in x.contiguous()])
    else:
        x = iterate(x, steps, times)
    return (x.mT if tall else x).to(matrices.dtype)


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    return left @ right.mT


def _iterate(x: Tensor, steps: int, times: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The quintic iteration on one or many matrices; `times(left, right)` is left @ right.mT."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = times(x, x)
        polynomial = torch.add(b * gram, times(gram, gram), alpha=c)  # the Gram matrix is its own transpose
        x = torch.add(times(polynomial, x.mT), x, alpha=a)
    return x


def _iterate_gram(x: Tensor, steps: int, times: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`_iterate` with two products of x's size in all, instead of two a step: fewer operations from 1.5 times as many columns as rows on.

    The polynomials of the Gram matrix are multiplied with each other, then once with x. All are symmetric and commute. In float32 the result
    differs by up to 4e-4 of its norm, less than the rounding of bfloat16.
    """
    a, b, c = COEFFICIENTS
    gram, polynomials = times(x, x), None
    for step in range(steps):
        polynomial = torch.add(b * gram, times(gram, gram), alpha=c)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
        polynomials = polynomial if polynomials is None else times(polynomials, polynomial)
        if step < steps - 1:
            gram = times(times(polynomial, gram), polynomial)
    return x if polynomials is None else times(polynomials, x.mT)
