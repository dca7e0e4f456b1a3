"""Muon's update, over all matrices of a shape at once, in the number format that the hardware multiplies fast.

The same arithmetic as `torch.optim.Muon`, which takes matrices one by one and always in bfloat16: on a CPU without
bfloat16 units that costs thirty times the time (a test holds the two equal to bfloat16's precision).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ts_models.fast.linear import has_onednn, product

__all__ = ["BatchedMuon", "orthogonalise"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, chosen for the steepest slope at zero: https://kellerjordan.github.io/posts/muon/"""


class BatchedMuon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled by sqrt(max(1, rows / columns)); decoupled weight decay.

    The learning rate may be a tensor on the parameters' device, as in torch's own optimizers.
    """

    label = "muon"

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        ns_steps: int,
        dtype: torch.dtype,
        cautious: bool = False,
    ) -> None:
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
    """About U V^T of each matrix U S V^T, `[matrices, rows, columns]`, by Newton–Schulz iteration."""
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    times = product if dtype == torch.float32 and x.device.type == "cpu" and has_onednn() else _matmul
    if x.device.type == "cpu" and (times is product or dtype == torch.bfloat16):  # faster there than a batch of them
        x = torch.stack([_iterate(matrix, steps, times) for matrix in x.contiguous()])
    else:
        x = _iterate(x, steps, times)
    return (x.mT if tall else x).to(matrices.dtype)


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    return left @ right.mT


def _iterate(x: Tensor, steps: int, times: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The quintic on one matrix or on many; `times(left, right)` is left @ right.mT."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = times(x, x)
        polynomial = torch.add(b * gram, times(gram, gram), alpha=c)  # the Gram matrix is its own transpose
        x = torch.add(times(polynomial, x.mT), x, alpha=a)
    return x
