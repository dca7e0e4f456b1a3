"""Fast generation of a Transformer on the CPU: prompts through the network, then one compiled call per token for all rows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..state import pad_right
from . import load_kernels, split
from .kernels.arrays import BLOCK, Cache, Floats, Weights, aligned
from .weights import read_weights

__all__ = ["FastStepper"]

_lock = threading.Lock()
"""Numba's workqueue threading layer is not thread-safe."""
_SMALL = 8_000_000
"""Number of weights below which a second thread costs more than it saves for one row: it is woken several times per layer."""
_ROWS_OF_A_THREAD = 8
Ids = np.ndarray[Any, np.dtype[np.int64]]


class FastStepper:
    """Reads prompts through the network, then steps through the kernels. Equal to TorchStepper up to rounding."""

    def __init__(self, network: Any, *, precision: str = "float32") -> None:
        self.network, self.kernels = network, load_kernels("decode")
        self.weights: Weights = read_weights(network, precision)
        self.precision = precision
        self.threads = torch.get_num_threads()
        self.size = sum(getattr(self.weights, name).value.size for name in ("qkv", "out", "up", "down", "head"))

    def __getstate__(self) -> dict[str, Any]:
        """Without what is rebuilt: the kernels' module and the weights."""
        return {**self.__dict__, "kernels": None, "weights": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.kernels = load_kernels("decode")
        self.weights = read_weights(self.network, self.precision)

    def start(self, prompts: Sequence[Sequence[int]], room: int, *, per_prompt: int) -> Tensor:
        """See Stepper."""
        self.per_prompt = per_prompt
        ids, lengths = pad_right(prompts)
        count, longest = ids.shape
        state = self.network.init_state(count, -(-longest // BLOCK) * BLOCK)
        hidden = self.network.hidden(ids, state=state)
        self.cache = _make_cache(state, np.repeat(lengths.numpy(), per_prompt), room, per_prompt)
        self.slots = np.arange(count * per_prompt)
        logits: Tensor = self.network.logits(hidden[torch.arange(count), lengths - 1])
        return logits.repeat_interleave(per_prompt, dim=0)

    def step(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        """See Stepper."""
        if rows is not None:
            self._select(rows.numpy())
        ids, lengths = tokens.numpy(), self.cache.lengths
        self.cache.where[np.arange(len(ids)), lengths // BLOCK] = self.slots
        logits = torch.empty(len(ids), self.weights.head.bias.shape[1])
        self._forward(ids, logits.numpy())
        lengths += 1
        return logits[:, : len(self.weights.embedding)]

    def _forward(self, ids: Ids, logits: Floats) -> None:
        """Threads share out the rows where all of them can hold the weights in their caches, else the outputs of each product."""
        parts = min(self.threads, len(ids) // _ROWS_OF_A_THREAD) if self.size <= _SMALL else 1
        if parts > 1:
            split(lambda first, last: self._rows(ids, logits, slice(first, last), 1), len(ids), parts)
        else:
            with _lock:
                self._rows(ids, logits, slice(None), 1 if self.size <= _SMALL else self.threads)

    def _rows(self, ids: Ids, logits: Floats, part: slice, threads: int) -> None:
        cache = self.cache._replace(where=self.cache.where[part], lengths=self.cache.lengths[part])
        self.kernels.forward(self.weights, cache, self.slots[part], ids[part], logits[part], threads)

    def _select(self, rows: Ids) -> None:
        """Keep rows in that order. A row's own slot is where it writes from now on: two rows never share one.

        Rows that part (beams of one prompt) are given the slots of their prompt's own rows, because only those have
        nothing at the positions still to come; what their parents wrote into a block that is not full is copied there.
        """
        self.cache = self.cache._replace(where=self.cache.where[rows], lengths=self.cache.lengths[rows])
        if len(set(rows.tolist())) == len(rows):
            self.slots = self.slots[rows]
            return
        self.slots = self.slots.reshape(-1, self.per_prompt)[rows[:: self.per_prompt] // self.per_prompt].ravel()
        block, begun = np.divmod(self.cache.lengths, BLOCK)
        parents = self.cache.where[np.arange(len(rows)), block]
        moved = (begun > 0) & (parents != self.slots)
        source, target, place = parents[moved], self.slots[moved], block[moved]
        for cells in (self.cache.keys, self.cache.values):
            cells[:, target, place] = cells[:, source, place]


def _make_cache(state: Any, lengths: Ids, room: int, per_prompt: int) -> Cache:
    """The state of the prompts, each repeated `per_prompt` times; full blocks are read from the first of these rows."""
    count, kv_heads, longest, size = state.keys[0].shape
    rows, blocks, used = count * per_prompt, -(-room // BLOCK), longest // BLOCK
    padded = -(-size // BLOCK) * BLOCK
    keys: Floats = aligned((len(state.keys), rows, blocks, kv_heads, size, BLOCK))
    values: Floats = aligned((len(state.keys), rows, blocks, kv_heads, BLOCK, padded))
    for layer, (k, v) in enumerate(zip(state.keys, state.values, strict=True)):
        cells = (count, kv_heads, used, BLOCK, size)
        for row in range(per_prompt):
            keys[layer, row::per_prompt, :used] = k.numpy().reshape(cells).transpose(0, 2, 1, 4, 3)
            values[layer, row::per_prompt, :used, :, :, :size] = v.numpy().reshape(cells).swapaxes(1, 2)
    slots = np.arange(rows, dtype=np.int32)
    full = np.arange(blocks) < (lengths // BLOCK)[:, None]
    where = np.where(full, (slots // per_prompt * per_prompt)[:, None], slots[:, None]).astype(np.int32)
    return Cache(keys, values, where, lengths)
