"""Products by oneDNN where that is the faster library: float32, many tokens, AVX-512.

PyTorch multiplies float32 matrices on a CPU with MKL, which leaves half of an AMD core's AVX-512 unused; oneDNN,
which torch bundles, treats all vendors alike. Same weights, same names, the same sums in another order;
on other devices and formats, for a few tokens, and under torch.compile this is `F.linear`.

Letters: N tokens, I values in, O values out.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_MANY = 256  # tokens from which the choice pays for its call


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., I], weight [O, I], bias [O] → [..., O], as F.linear."""
    if not _onednn_here(x, weight):
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)  # type: ignore[no-any-return, no-untyped-call]


def product(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [M, K] times y [N, K] transposed, plus bias [N] → [M, N], by oneDNN; no gradient. Check `has_onednn` first."""
    return torch.ops.mkldnn._linear_pointwise(x, y, bias, "none", [], "")  # type: ignore[no-any-return]


@lru_cache
def has_onednn() -> bool:
    """Whether `product` works here and is faster. It uses a private operator of torch."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch._C._has_mkldnn:
        return False
    try:
        return product(torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)).tolist() == [[4.0] * 4] * 2
    except (AttributeError, RuntimeError, TypeError):  # another version of torch may have others
        return False


def _onednn_here(x: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() >= _MANY * x.shape[-1]
        and not torch.is_autocast_enabled("cpu")
        and has_onednn()
    )


class _Linear(torch.autograd.Function):
    """Keeps x and the weight, as F.linear does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        out = product(x.reshape(-1, x.shape[-1]), weight, bias)
        shaped: Tensor = torch.ops.aten._unsafe_view(out, [*x.shape[:-1], len(weight)])  # not a view to autograd
        return shaped

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        flat, needs = grad.reshape(-1, weight.shape[0]), ctx.needs_input_grad
        return (
            product(flat, weight.t()).view_as(x) if needs[0] else None,
            _weight_gradient(flat, x.reshape(-1, weight.shape[1])) if needs[1] else None,
            flat.sum(0) if needs[2] else None,
        )


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """grad [N, O], x [N, I] → [O, I]. oneDNN is a quarter faster where the smaller matrix comes first."""
    if x.shape[1] <= grad.shape[1]:
        return product(x.t(), grad.t()).t().contiguous()
    return product(grad.t(), x.t())
