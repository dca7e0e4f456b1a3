"""Fast generation of a Transformer on the CPU: prompts through the network, then one compiled call per token for all rows."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..state import pad_right
from . import load_kernels
from .kernels.arrays import BLOCK, DOWN, HEAD, MIX, OUT, QKV, UP, WHOLE, Cache, Floats, Scratch, Weights, aligned
from .team import Team, item_seconds, looks_per_second, pace_of, usable_threads
from .weights import read_weights

_SMALL = 2_000_000
"""Number of weights up to which rows are shared out in more parts than there are threads: all threads' caches hold the weights."""
_ROWS_OF_A_THREAD = 8
"""Rows from which on a thread computes whole rows; with fewer, threads share out the outputs of each product."""
_TILE = 5
"""Rows that the kernels compute together."""
_MATRICES, _PRODUCTS = ("qkv", "out", "up", "down", "head"), (QKV, OUT, UP, DOWN, HEAD)
Ids = np.ndarray[Any, np.dtype[np.int64]]


class FastStepper:
    """Reads prompts through the network, then steps through the kernels. Equal to TorchStepper up to rounding."""

    def __init__(self, network: Any, *, precision: str = "float32", ahead: int = 1) -> None:
        """`ahead`: most tokens that `append` takes at once."""
        self.network, self.kernels, self.ahead = network, load_kernels("decode"), ahead
        self.weights: Weights = read_weights(network, precision)
        self.precision = precision
        self.threads = usable_threads(torch.get_num_threads())
        self.size = sum(matrix.size * matrix.bias.size for matrix in (getattr(self.weights, name) for name in _MATRICES))

    def __getstate__(self) -> dict[str, Any]:
        """Without what is rebuilt: the kernels' module, the weights, what threads share."""
        if "team" in self.__dict__:
            self.team.settle()
        rebuilt = {"kernels", "weights", "scratch", "team"}
        return {name: value for name, value in self.__dict__.items() if name not in rebuilt}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.kernels = load_kernels("decode")
        self.weights = read_weights(self.network, self.precision)
        if "cache" in state:  # a generation has begun
            self._share_out(len(self.tokens))

    def start(self, prompts: Sequence[Sequence[int]], room: int, *, per_prompt: int) -> Tensor:
        self.per_prompt = per_prompt
        ids, lengths = pad_right(prompts)
        count, longest = ids.shape
        state = self.network.init_state(count, -(-longest // BLOCK) * BLOCK)
        hidden = self.network.hidden(ids, state=state)
        self.cache = _make_cache(state, np.repeat(lengths.numpy(), per_prompt), room, per_prompt)
        self.count = rows = count * per_prompt
        self.slots, self.tokens = np.arange(rows), np.zeros(rows, np.int64)
        if rows == 1 < self.ahead:
            repeated = {name: np.repeat(getattr(self.cache, name), self.ahead, axis=0) for name in ("where", "lengths")}
            self.cache = self.cache._replace(**repeated)
            self.slots, self.tokens = np.zeros(self.ahead, np.int64), np.zeros(self.ahead, np.int64)
        self._share_out(len(self.tokens))
        logits: Tensor = self.network.logits(hidden[torch.arange(count), lengths - 1])
        return logits.repeat_interleave(per_prompt, dim=0)

    def _share_out(self, rows: int) -> None:
        """What the threads of one generation share. The arrays keep their places while rows leave: helpers look at them."""
        self.scratch, self.waits = _make_scratch(self.weights, self.cache, self.threads, rows), (0, 0)
        items = max(rows, self.weights.heads, *(getattr(self.weights, name).value.shape[1] for name in _MATRICES))
        self.team = Team(self.threads, items, self.kernels.help_forward, looks_per_second(self.kernels.spin))
        if self.threads > 1:  # compile it in this thread: after Ctrl-C the process would wait for a helper's compiler
            self.kernels.help_forward(self.weights, self.cache, self.slots, self.tokens, self.scratch, self.team.words, 1, 0)

    def step(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        if rows is not None:
            self._select(rows.numpy())
        count = self.count
        lengths = self.cache.lengths[:count]
        self.tokens[:count] = tokens.numpy()
        logits = self._timed_forward(self._chunk)
        lengths += 1
        return logits

    def append(self, tokens: Sequence[int], length: int) -> Tensor:
        """Cut the only row to `length` tokens, then append these at once; logits `[tokens, vocab]`, the bits of as many steps.

        To the kernels each token is a row that begins with all tokens before it: a layer stores all keys and values before it
        attends.
        """
        self.count = count = len(tokens)
        self.tokens[:count] = tokens
        self.cache.lengths[:count] = np.arange(length, length + count)
        return self._timed_forward(lambda threads: 0)

    def _timed_forward(self, chunk: Callable[[int], int]) -> Tensor:
        count = self.count
        logits = torch.empty(count, self.weights.head.bias.shape[1])
        pace = pace_of(self.threads, self.size, self.precision, min(count, _ROWS_OF_A_THREAD * 2).bit_length())
        threads, begin = pace.choose(), time.perf_counter()
        self._forward(logits.numpy(), threads, chunk(threads))
        pace.record(threads, (time.perf_counter() - begin) / count, rows=count)
        return logits[:, : len(self.weights.embedding)]

    def _forward(self, logits: Floats, threads: int, chunk: int) -> None:
        """One token for all rows by that many threads."""
        count, w, cache, team = self.count, self.weights, self.cache, self.team
        if threads > 1:
            self._set_waits(chunk)
            team.wake(w, cache, self.slots, self.tokens, self.scratch)
        part = cache._replace(where=cache.where[:count], lengths=cache.lengths[:count])
        self.kernels.forward(
            w, part, self.slots[:count], self.tokens[:count], self.scratch, logits, team.words, threads - 1, chunk
        )

    def _chunk(self, threads: int) -> int:
        """Rows that a thread takes at once; 0 where threads share out the products."""
        if self.count < threads * _ROWS_OF_A_THREAD:
            return 0
        parts = 2 * threads if self.size <= _SMALL else threads
        return -(-self.count // (parts * _TILE)) * _TILE

    def _set_waits(self, chunk: int) -> None:
        w, rows = self.weights, self.count
        if self.waits == (rows, chunk):
            return
        self.waits = rows, chunk
        matrices = {kind: getattr(w, name) for kind, name in zip(_PRODUCTS, _MATRICES, strict=True)}
        seen = 2 * rows * self.cache.where.shape[1] * BLOCK * self.cache.keys.shape[4] * 4
        seconds = {
            kind: item_seconds(matrix.value[0, 0].nbytes, 2 * rows * matrix.size * matrix.value.shape[3])
            for kind, matrix in matrices.items()
        }
        whole = item_seconds(self.size, 2 * chunk * self.size)
        self.team.set_waits({**seconds, MIX: item_seconds(seen), WHOLE: whole})

    def _select(self, rows: Ids) -> None:
        """Keep rows in that order. A row's own slot is where it writes from now on: two rows never share one.

        Rows that part (beams of one prompt) are given the slots of their prompt's own rows, because only those have
        nothing at the positions still to come; what their parents wrote into a block that is not full is copied there.
        """
        self.count = count = len(rows)
        where, lengths = self.cache.where[:count], self.cache.lengths[:count]
        where[:], lengths[:] = self.cache.where[rows], self.cache.lengths[rows]
        if len(set(rows.tolist())) == count:
            self.slots[:count] = self.slots[rows]
            return
        self.team.settle()
        self.slots[:count] = self.slots.reshape(-1, self.per_prompt)[rows[:: self.per_prompt] // self.per_prompt].ravel()
        slots = self.slots[:count]
        block, begun = np.divmod(lengths, BLOCK)
        parents = where[np.arange(count), block]
        moved = (begun > 0) & (parents != slots)
        source, target, place = parents[moved], slots[moved], block[moved]
        for cells in (self.cache.keys, self.cache.values):
            cells[:, target, place] = cells[:, source, place]


def _make_scratch(w: Weights, cache: Cache, threads: int, rows: int) -> Scratch:
    """Room for what each thread computes. The system provides memory when it is first written."""
    widths = {
        "x": w.embedding.shape[1],
        "h": w.embedding.shape[1],
        "qkv": w.qkv.bias.shape[1],
        "mixed": w.out.size,
        "out": w.out.bias.shape[1],
        "up": w.up.bias.shape[1],
        "inner": w.down.size,
        "logits": w.head.bias.shape[1],
    }
    return Scratch(
        **{name: aligned((threads, rows, width)) for name, width in widths.items()},
        scores=aligned((threads, w.heads, cache.where.shape[1] * BLOCK)),
        sums=aligned((threads, w.heads, cache.values.shape[5])),
        where=aligned((threads, *cache.where.shape), np.int32),
        places=aligned((threads, 3, rows), np.int64),
    )


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
