"""Position encodings: sinusoidal, learned, rotary, none. `registry.POSITIONS` is their table.

All take positions as [time] or [batch, time] int64. The talk's rotary embedding trains through torchtune's module
(`TorchtuneRotary`) where torchtune is installed; `RotaryEmbedding` is equal to 1e-6 and needs no extra.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, MissingExtraError
from ..fast.passes import rotate
from ..registry import POSITIONS, load_entry
from ..schemas import TransformerConfig


class PositionEncoding(nn.Module):
    """Base of position encodings. Subclasses change the embeddings, rotate queries and keys, or neither."""

    has_limit: ClassVar[bool] = True
    """Whether positions end at `max_seq_len`."""

    @classmethod
    def make(cls, config: TransformerConfig, *, torchtune: bool) -> PositionEncoding:
        """A module for this config; `torchtune` allows one that trains through torchtune."""
        return cls(config)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Embeddings x [batch, time, d_model] → the same shape."""
        return x

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        """cos and sin for `apply_rope` on queries and keys, or None."""
        return None


def make_positions(config: TransformerConfig, *, torchtune: bool) -> PositionEncoding:
    """The position encoding of a config, from `registry.POSITIONS`."""
    kind: type[PositionEncoding] = load_entry(POSITIONS[config.positions])
    return kind.make(config, torchtune=torchtune)


class NoPositions(PositionEncoding):
    """None: a causal network learns positions from the mask (Haviv et al. 2022)."""

    has_limit = False

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()


class Learned(nn.Embedding, PositionEncoding):
    """Adds a learned vector for each position."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config.max_seq_len, config.d_model)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:  # type: ignore[override]
        """x [batch, time, d_model] → the same shape."""
        return x + F.embedding(positions, self.weight)


class Rope(PositionEncoding):
    """Rotates queries and keys in halves (Su et al. 2021)."""

    has_limit = False

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.head_dim, self.theta = config.head_size, config.rope_theta

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of each position."""
        return rope_table(positions, self.head_dim, self.theta)


class Sinusoidal(PositionEncoding):
    """Adds sines and cosines of the position (Vaswani et al. 2017), as a table of [max_seq_len, d_model]."""

    table: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.length, self.d_model = config.max_seq_len, config.d_model
        self.register_buffer("table", torch.empty(self.length, self.d_model), persistent=False)
        self.fill()

    def fill(self) -> None:
        """Compute the table on its device."""
        self.table.data = sinusoidal_table(self.length, self.d_model).to(self.table)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [batch, time, d_model] → the same shape."""
        return x + self.table[positions].to(x.dtype)


def sinusoidal_table(length: int, d_model: int) -> Tensor:
    """[length, d_model]: sin in even columns, cos in odd ones."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    rates = sinusoidal_rates(d_model)
    table = torch.zeros(length, d_model)
    table[:, 0::2] = torch.sin(position * rates)
    table[:, 1::2] = torch.cos(position * rates[: d_model // 2])
    return table


def sinusoidal_rates(d_model: int) -> Tensor:
    """Angle per position of each pair of columns, [d_model / 2], rounded up."""
    return torch.exp(torch.arange(0, d_model, 2, dtype=torch.float32) * (-math.log(10_000.0) / d_model))


def rope_angles(positions: Tensor, head_dim: int, theta: float) -> Tensor:
    """positions [...] → angles [..., head_dim / 2] (Su et al. 2021)."""
    rates = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim)
    return positions[..., None].float() * rates


def rope_table(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and sin for `apply_rope`: positions [time] or [batch, time] → [1 or batch, 1, time, head_dim]."""
    angles = rope_angles(positions if positions.dim() == 2 else positions[None], head_dim, theta)
    doubled = torch.cat([angles, angles], dim=-1)[:, None]
    return doubled.cos(), doubled.sin()


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate queries or keys [batch, heads, time, head_dim] with the half-split convention (Qwen3, Llama in transformers)."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return rotate(x, cos, sin)
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return x * cos + turned * sin


class RotaryEmbedding(PositionEncoding):
    """The talk's rotation of the embedding itself, cut into heads, in interleaved pairs (torchtune's convention)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.head_dim, self.theta = config.n_heads, config.head_size, config.rope_theta
        self.length = config.max_seq_len
        self.register_buffer("table", torch.empty(self.length, self.head_dim // 2, 2), persistent=False)
        self.fill()

    table: Tensor

    @classmethod
    def make(cls, config: TransformerConfig, *, torchtune: bool) -> PositionEncoding:
        """torchtune's module where it is installed and allowed, else ours."""
        return TorchtuneRotary(config) if torchtune and has_torchtune() else cls(config)

    def fill(self) -> None:
        """Compute the table, [max_seq_len, head_dim / 2, (cos, sin)], on its device."""
        angles = rope_angles(torch.arange(self.length, device=self.table.device), self.head_dim, self.theta)
        self.table.data = torch.stack([angles.cos(), angles.sin()], dim=-1).to(self.table)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [batch, time, d_model] → the same shape."""
        batch, time, _ = x.shape
        pairs = x.float().view(batch, time, self.heads, self.head_dim // 2, 2)
        table = self.table[positions if positions.dim() == 2 else positions[None]][:, :, None]
        cos, sin = table[..., 0], table[..., 1]
        even, odd = pairs[..., 0], pairs[..., 1]
        turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
        return turned.flatten(2).type_as(x)


def has_torchtune() -> bool:
    """Whether torchtune is installed; it is not imported."""
    return importlib.util.find_spec("torchtune") is not None


class TorchtuneRotary(PositionEncoding):
    """The same rotation through torchtune's own module, as the talk trained. Needs the extra `torchtune`."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.n_heads, config.head_size
        if config.rope_theta != int(config.rope_theta):
            raise ConfigError(f"rope_theta {config.rope_theta}: torchtune's rotation takes whole numbers only")
        rotary = _torchtune_rotary()
        self.rotary = rotary(dim=config.head_size, max_seq_len=config.max_seq_len, base=int(config.rope_theta))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [batch, time, d_model] → the same shape."""
        batch, time, d_model = x.shape
        if not x.numel():  # torchtune's module reshapes by -1
            return x
        heads = x.view(batch, time, self.heads, self.head_dim)
        turned: Tensor = self.rotary(heads, input_pos=positions if positions.dim() == 2 else positions[None])
        return turned.reshape(batch, time, d_model)


def _torchtune_rotary() -> type[nn.Module]:
    """torchtune's class, imported without its start-up warnings."""
    try:
        with silence():
            from torchtune.modules import RotaryPositionalEmbeddings
    except ImportError as problem:
        raise MissingExtraError(
            "positions = 'rope-embedding' trains through torchtune, which is installed but does not import "
            f'({problem}). Run: pip install "ts-models[torchtune]" - or remove it, and the rotation of ts-models is used.'
        ) from None
    return RotaryPositionalEmbeddings  # type: ignore[no-any-return]


@contextmanager
def silence() -> Iterator[None]:
    """Suppress warnings and log lines below ERROR during an import."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
