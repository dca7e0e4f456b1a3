"""The per-token network of a block: GELU, squared ReLU (So et al. 2021) or SwiGLU (Shazeer 2020)."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..schemas import TransformerConfig
from .dropout import Dropout
from .linear import Linear


def _swiglu(x: Tensor) -> Tensor:
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


def _relu2(x: Tensor) -> Tensor:
    return torch.square(F.relu(x))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu-tanh": partial(F.gelu, approximate="tanh"),
    "relu2": _relu2,
    "swiglu": _swiglu,
}


class FeedForward(nn.Module):
    """Two linear layers around an activation. With SwiGLU `up` holds gate and value, in that order."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        wide = config.d_ff * (2 if config.feed_forward == "swiglu" else 1)
        self.up = Linear(config.d_model, wide, bias=config.bias)
        self.down = Linear(config.d_ff, config.d_model, bias=config.bias)
        self.activation = ACTIVATIONS[config.feed_forward]
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, d_model] → the same shape."""
        return self.down(self.dropout(self.activation(self.up(x))))  # type: ignore[no-any-return]
