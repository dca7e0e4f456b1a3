"""Many texts at once: Arrow batches to token ids or token counts, through the compiled scan.

`Bulk` numbers the chunks that it meets and keeps spaCy's tokens of each. Threads may share it: a table is never
changed under a reader, new chunks go into a copy that replaces it. Where Numba is missing, `_chunks` does the same by
dictionaries; where a text is flagged, spaCy answers for the whole of it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ._chunks import ChunkTable
from ._kernels import kernels
from ._surface import normalise

__all__ = ["Bulk", "open_bulk", "utf8"]

Ids = Callable[[str], int]


def utf8(texts: Sequence[str]) -> pa.Array | None:
    """The texts as an Arrow array, or None where one is no Unicode text (a lone surrogate)."""
    try:
        return pa.array(texts, type=pa.large_string())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        return None


def open_bulk(chunks: ChunkTable, ids: Ids) -> Bulk | None:
    """A `Bulk`, or None where Numba is missing or plain loops are wanted."""
    return None if kernels().__name__.endswith(".plain") else Bulk(chunks, ids)


@dataclass(frozen=True)
class _State:
    """The table at one moment; a later one replaces it as a whole."""

    table: np.ndarray
    arena: np.ndarray
    used: int
    known: int
    starts: np.ndarray
    tokens: np.ndarray
    left: np.ndarray
    right: np.ndarray
    pairs: np.ndarray


class Bulk:
    """Chunks met so far, their tokens numbered by `ids`."""

    def __init__(self, chunks: ChunkTable, ids: Ids) -> None:
        from ._kernels import scan

        self._scan = scan
        self._chunks = chunks
        self._ids = ids
        self._lock = threading.Lock()
        self._lefts: dict[frozenset[str], int] = {frozenset(): 0}
        self._rights: dict[frozenset[str], int] = {frozenset(): 0}
        self._state = _State(
            table=np.zeros((1 << 12, 4), dtype=np.uint64),
            arena=np.zeros(1 << 12, dtype=np.uint8),
            used=0,
            known=0,
            starts=np.zeros(1, dtype=np.int64),
            tokens=np.zeros(0, dtype=np.uint32),
            left=np.zeros(0, dtype=np.int32),
            right=np.zeros(0, dtype=np.int32),
            pairs=np.zeros((1, 1), dtype=np.bool_),
        )

    def encode(self, texts: pa.Array, opening: int = -1, closing: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts in a row (uint16) and each text's length (int64)."""
        numbers, ends, state = self._number(texts)
        ids = np.empty(self._scan.total(numbers, state.starts) + 2 * len(ends), dtype=np.uint16)
        lengths, flagged = np.empty(len(ends), dtype=np.int64), np.empty(len(ends), dtype=np.bool_)
        edges = (state.left, state.right, state.pairs)
        used = self._scan.expand(numbers, ends, state.starts, state.tokens, *edges, opening, closing, ids, lengths, flagged)
        ids = ids[:used]
        return self._patch(texts, ids, lengths, np.flatnonzero(flagged), opening, closing) if flagged.any() else (ids, lengths)

    def _patch(
        self, texts: pa.Array, ids: np.ndarray, lengths: np.ndarray, flagged: np.ndarray, opening: int, closing: int
    ) -> tuple[np.ndarray, np.ndarray]:
        places = np.cumsum(lengths)  # a flagged text has length 0: its ids belong where it ends
        pieces, at = [], 0
        for text in flagged:
            own = [self._ids(token) for token in self._chunks.split(normalise(texts[int(text)].as_py()))]
            own = [*([opening] if opening >= 0 else []), *own, *([closing] if closing >= 0 else [])]
            pieces += [ids[at : places[text]], np.array(own, dtype=ids.dtype)]
            at = int(places[text])
            lengths[text] = len(own)
        return np.concatenate([*pieces, ids[at:]]), lengths

    # --- chunk numbers -----------------------------------------------------------------------

    def _number(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray, _State]:
        data, offsets = _words(texts)
        numbers = np.empty(int(offsets[-1] - offsets[0]) + 1, dtype=np.int32)
        ends = np.empty(len(offsets) - 1, dtype=np.int64)
        room = 1 << 14
        while True:
            state = self._state
            missed = np.empty((room, 3), dtype=np.int64)
            count, misses = self._scan.scan(data, offsets, state.table, state.arena, numbers, ends, missed)
            if count >= 0:
                break
            room *= 8
        if misses:
            with self._lock:
                state = self._state = self._add(data, missed[:misses], numbers)
        return numbers[:count], ends, state

    def _add(self, data: np.ndarray, missed: np.ndarray, numbers: np.ndarray) -> _State:
        state = self._state
        table, arena = self._roomier(state, len(missed), int(np.maximum(missed[:, 2] - 16, 0).sum()))
        fresh = np.empty(len(missed), dtype=np.int64)
        used, known = self._scan.insert(data, missed, table, arena, state.used, state.known, numbers, fresh)
        rows = missed[fresh[: known - state.known]]
        raw = data.view(np.uint8)
        chunks = [normalise(raw[at : at + length].tobytes().decode("utf-8")) for _, at, length in rows.tolist()]
        state = replace(state, table=table, arena=arena, used=used, known=known)
        return self._learn(state, chunks) if chunks else state

    def _roomier(self, state: _State, chunks: int, tail: int) -> tuple[np.ndarray, np.ndarray]:
        size = len(state.table)
        while 2 * (state.known + chunks) > size:
            size *= 2
        table = state.table.copy() if size == len(state.table) else np.zeros((size, 4), dtype=np.uint64)
        if size != len(state.table):
            self._scan.grow(state.table, state.arena, table)
        arena = np.zeros(max(len(state.arena), 2 * (state.used + tail)), dtype=np.uint8)
        arena[: state.used] = state.arena[: state.used]
        return table, arena

    def _learn(self, state: _State, chunks: list[str]) -> _State:
        """spaCy's tokens of new chunks, and how they could meet their neighbours."""
        wild = [chunk.split() != [chunk] and not chunk.isspace() for chunk in chunks]  # holds a blank that is not ASCII
        wild = [odd or (chunk.isspace() and not chunk.isascii()) for odd, chunk in zip(wild, chunks, strict=True)]
        split = self._chunks.rules.split_chunks([" " if odd else chunk for odd, chunk in zip(wild, chunks, strict=True)])
        edges = [self._chunks.edges(chunk) for chunk in chunks]
        left = [-1 if odd else _class(self._lefts, starts) for odd, (starts, _) in zip(wild, edges, strict=True)]
        right = [_class(self._rights, ends) for _, ends in edges]
        flat = np.array([self._ids(token) for tokens in split for token in tokens], dtype=np.uint32)
        lengths = np.cumsum([len(tokens) for tokens in split]) + state.starts[-1]
        return replace(
            state,
            starts=np.concatenate([state.starts, lengths]).astype(np.int64),
            tokens=np.concatenate([state.tokens, flat]),
            left=np.concatenate([state.left, left]).astype(np.int32),
            right=np.concatenate([state.right, right]).astype(np.int32),
            pairs=self._crossings(state.pairs),
        )

    def _crossings(self, before: np.ndarray) -> np.ndarray:
        """[right class, left class]: whether some end and some start are neighbours in a special case."""
        if before.shape == (len(self._rights), len(self._lefts)):
            return before
        pairs = self._chunks.rules.pairs
        matrix = np.zeros((len(self._rights), len(self._lefts)), dtype=np.bool_)
        for ends, row in self._rights.items():
            for starts, column in self._lefts.items():
                matrix[row, column] = any((end, start) in pairs for end in ends for start in starts)
        return matrix

    # --- counting ----------------------------------------------------------------------------

    def tally(self, texts: pa.Array, chunk_counts: np.ndarray, whole: Counter[str]) -> np.ndarray:
        """Add a batch to counts per chunk number (a longer array comes back); flagged texts' tokens go to `whole`."""
        numbers, ends, state = self._number(texts)
        lengths, flagged = np.empty(len(ends), dtype=np.int64), np.empty(len(ends), dtype=np.bool_)
        empty = np.zeros(len(state.starts), dtype=np.int64)
        edges = (state.left, state.right, state.pairs)
        nothing = np.empty(1, dtype=np.uint32)
        self._scan.expand(numbers, ends, empty, state.tokens, *edges, -1, -1, nothing, lengths, flagged)
        counts = np.bincount(numbers, minlength=max(state.known, len(chunk_counts)))
        counts[: len(chunk_counts)] += chunk_counts
        starts = np.concatenate([[0], ends])
        for text in np.flatnonzero(flagged).tolist():
            np.subtract.at(counts, numbers[starts[text] : starts[text + 1]], 1)
            whole.update(self._chunks.split(normalise(texts[text].as_py())))
        return counts

    def token_counts(self, chunk_counts: np.ndarray) -> np.ndarray:
        """Counts per chunk number to counts per token id."""
        state = self._state
        sizes = np.diff(state.starts)[: len(chunk_counts)]
        owners = np.repeat(chunk_counts, sizes)
        return np.bincount(state.tokens[: len(owners)], weights=owners).astype(np.int64)


def _class(classes: dict[frozenset[str], int], key: frozenset[str]) -> int:
    return classes.setdefault(key, len(classes))


def _words(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """An Arrow array's bytes as 8-byte words, with padding behind, and its offsets."""
    if not pa.types.is_large_string(texts.type):
        texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    found = (
        np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1] if offsets else np.zeros(1, np.int64)
    )
    start, end = int(found[0]), int(found[-1])
    words = np.empty((end - start) // 8 + 4, dtype=np.uint64)
    words[-4:] = 0
    if data is not None:
        words.view(np.uint8)[: end - start] = np.frombuffer(data, dtype=np.uint8)[start:end]
    return words, found - start
