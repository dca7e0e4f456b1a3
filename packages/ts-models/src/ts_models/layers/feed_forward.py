"""The per-token network of a block: GELU, squared ReLU (So et al. 2021) or SwiGLU (Shazeer 2020)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..schemas import TransformerConfig
from .dropout import Dropout

__all__ = ["ACTIVATIONS", "FeedForward"]


def _swiglu(x: Tensor) -> Tensor:
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


def _relu2(x: Tensor) -> Tensor:
    return torch.square(F.relu(x))


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


_ALIGNED = 16
_MANY = 256  # tokens from which filling up the weights costs less than it saves

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu-tanh": _gelu_tanh,
    "relu2": _relu2,
    "swiglu": _swiglu,
}


class FeedForward(nn.Module):
    """Two linear layers around an activation. With SwiGLU `up` holds gate and value, in that order."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        wide = config.d_ff * (2 if config.feed_forward == "swiglu" else 1)
        self.up = nn.Linear(config.d_model, wide, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)
        self.activation = ACTIVATIONS[config.feed_forward]
        self.dropout = Dropout(config.dropout)

        self.odd = -config.d_ff % _ALIGNED if config.feed_forward != "swiglu" else 0

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, d_model] → the same shape."""
        if self.odd and x.device.type == "cpu" and x.shape[0] * x.shape[1] >= _MANY and not torch.compiler.is_compiling():
            return self._padded(x)
        return self.down(self.dropout(self.activation(self.up(x))))  # type: ignore[no-any-return]

    def _padded(self, x: Tensor) -> Tensor:
        """The same numbers with d_ff filled up by zeros: a CPU multiplies odd widths (355, 717) at half its speed."""
        bias = None if self.up.bias is None else F.pad(self.up.bias, (0, self.odd))
        wide = F.linear(x, F.pad(self.up.weight, (0, 0, 0, self.odd)), bias)
        wide = self.dropout(self.activation(wide))
        return F.linear(wide, F.pad(self.down.weight, (0, self.odd)), self.down.bias)
