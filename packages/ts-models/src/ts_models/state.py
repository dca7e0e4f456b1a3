"""Generation state: KV cache and recurrent state.

Generation calls `reorder` of a state, which keeps some rows, in that order (beams, finished stories). Both count the tokens of each
row in `lengths`, so that the rows of a batch may be of different length: after a batch of right-padded prompts,
`forward(ids, state=state, lengths=lengths)` leaves each row at its own length.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .schemas import TransformerConfig


class KVCache:
    """Keys and values of all layers, preallocated as [batch, kv_heads, max_length, head_dim] each.

    `start` is the length of all rows where it is the same, or None where rows differ.
    """

    def __init__(self, config: TransformerConfig, batch: int, max_length: int, like: Tensor) -> None:
        """`like`: a tensor of the number format and device that the cache is to have."""
        shape = (batch, config.kv_heads, max_length, config.head_size)
        self.keys = [like.new_zeros(shape) for _ in range(config.n_layers)]
        self.values = [like.new_zeros(shape) for _ in range(config.n_layers)]
        self.lengths = like.new_zeros(batch, dtype=torch.int64)
        self.start: int | None = 0
        self.longest = 0
        self.max_length = max_length

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values [batch, kv_heads, time, head_dim] behind each row; return all up to the longest row."""
        time = keys.shape[2]
        end = self.longest + time
        if self.start is not None:
            self.keys[layer][:, :, self.start : end] = keys
            self.values[layer][:, :, self.start : end] = values
        else:
            rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
            places = self.lengths[:, None] + torch.arange(time, device=keys.device)
            self.keys[layer][rows, :, places] = keys.transpose(1, 2).to(self.keys[layer].dtype)
            self.values[layer][rows, :, places] = values.transpose(1, 2).to(self.values[layer].dtype)
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def mask(self, time: int) -> Tensor | None:
        """[batch or 1, 1, time, seen] bool: what `time` new tokens may see; None where the plain causal rule says it."""
        if self.start == 0 or (self.start is not None and time == 1):
            return None
        steps = torch.arange(self.longest + time, device=self.lengths.device)
        own = self.positions(time).view(-1, time)
        return (steps <= own[:, :, None])[:, None]

    def positions(self, time: int) -> Tensor:
        """Positions of `time` new tokens: [time], or [batch, time] where rows differ."""
        steps = torch.arange(time, device=self.lengths.device)
        return steps + self.start if self.start is not None else self.lengths[:, None] + steps

    def advance(self, time: int, lengths: Tensor | None = None) -> None:
        """Count `time` new tokens in every row, or `lengths` [batch] of them where the rest was padding."""
        if lengths is not None:
            self.set_lengths(self.lengths + lengths.to(self.lengths.device))
            return
        self.lengths = self.lengths + time
        self.longest += time
        self.start = None if self.start is None else self.start + time

    def set_lengths(self, lengths: Tensor) -> None:
        """Cut (or set) each row to its length, [batch] int64."""
        self.lengths = lengths
        self.longest = int(lengths.max()) if len(lengths) else 0
        self.start = self.longest if bool((lengths == self.longest).all()) else None

    def reorder(self, rows: Tensor) -> None:
        """Keep the rows named, in that order."""
        self.keys = [layer.index_select(0, rows) for layer in self.keys]
        self.values = [layer.index_select(0, rows) for layer in self.values]
        self.set_lengths(self.lengths[rows])


class RecurrentState:
    """The hidden state of all layers, [layers, batch, d_hidden], and for an LSTM its cell beside it."""

    def __init__(self, hidden: Tensor, cell: Tensor | None = None) -> None:
        self.hidden, self.cell = hidden, cell
        self.lengths = hidden.new_zeros(hidden.shape[1], dtype=torch.int64)

    def advance(self, time: int, lengths: Tensor | None = None) -> None:
        """Count `time` new tokens in every row, or `lengths` [batch] of them."""
        self.lengths = self.lengths + (time if lengths is None else lengths.to(self.lengths.device))

    def reorder(self, rows: Tensor) -> None:
        """Keep the rows named, in that order."""
        self.hidden = self.hidden.index_select(1, rows)
        self.cell = None if self.cell is None else self.cell.index_select(1, rows)
        self.lengths = self.lengths[rows]


def pad_right(rows: Sequence[Sequence[int] | NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """Ids `[rows, longest]` int64, 0 behind shorter ones, and lengths `[rows]`."""
    ids = pad_sequence([torch.as_tensor(row, dtype=torch.int64) for row in rows], batch_first=True)
    return ids, torch.tensor([len(row) for row in rows])
