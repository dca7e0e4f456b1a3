"""Arrow batches to token ids or token counts through the compiled scan.

`Bulk` numbers the chunks that it sees and stores spaCy's tokens of each. Threads can share it: one thread at a time adds
chunks, and data that a reader holds is extended, never changed. Without Numba, `rules.chunks` does the same with dictionaries.
A flagged text is tokenized by spaCy as a whole.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ts_data.arrow import text_bytes

from ..rules.chunks import ChunkTable
from ..rules.text import normalise
from . import available, scan

Ids = Callable[[str], int]
MISSES = 1 << 14
"""Unknown chunks that a scan collects before they are added to the table and the scan resumes."""


def utf8(texts: Sequence[str]) -> pa.Array | None:
    """The texts as an Arrow array; None if one is not valid Unicode (a lone surrogate)."""
    try:
        return pa.array(texts, type=pa.large_string())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        return None


def open_bulk(chunks: ChunkTable, ids: Ids) -> Bulk | None:
    """A `Bulk`, or None if loops are not compiled."""
    return Bulk(chunks, ids) if available() else None


@dataclass(frozen=True)
class _State:
    """The hash table and the data of each chunk. It grows in place: a reader uses only the first `known` chunks.

    Arrays have spare capacity. An array that must be reallocated is copied, so a reader's array stays valid.
    """

    table: np.ndarray
    """uint64 [slots, 4]: see `scan`."""
    arena: np.ndarray
    used: int
    known: int
    starts: np.ndarray
    """int64 [chunks + 1]: the start of each chunk's tokens in `tokens`."""
    tokens: np.ndarray
    rows: np.ndarray
    """uint64 [chunks]: the packed tokens of a short chunk for `scan.expand`."""
    left: np.ndarray
    right: np.ndarray
    pairs: np.ndarray


class Bulk:
    """The chunks seen so far; `ids` numbers their tokens."""

    def __init__(self, chunks: ChunkTable, ids: Ids) -> None:
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
            rows=np.zeros(0, dtype=np.uint64),
            left=np.zeros(0, dtype=np.int32),
            right=np.zeros(0, dtype=np.int32),
            pairs=np.zeros((1, 1), dtype=np.bool_),
        )

    def encode(self, texts: pa.Array, opening: int = -1, closing: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, concatenated (uint16), and each text's length (int64)."""
        numbers, ends, state = self._number(texts)
        ids = np.empty(scan.total(numbers, state.starts) + 2 * len(ends) + 4, dtype=np.uint16)
        lengths, flagged = np.empty(len(ends), dtype=np.int64), np.empty(len(ends), dtype=np.bool_)
        known = (state.rows, state.starts, state.tokens, state.left, state.right, state.pairs)
        used = scan.expand(numbers, ends, *known, opening, closing, ids, lengths, flagged)
        ids = ids[:used]
        return self._patch(texts, ids, lengths, np.flatnonzero(flagged), opening, closing) if flagged.any() else (ids, lengths)

    def _patch(
        self, texts: pa.Array, ids: np.ndarray, lengths: np.ndarray, flagged: np.ndarray, opening: int, closing: int
    ) -> tuple[np.ndarray, np.ndarray]:
        places = np.cumsum(lengths)  # a flagged text has length 0: its ids are inserted at its end
        pieces, at = [], 0
        for text in flagged:
            own = [self._ids(token) for token in self._chunks.rules.split(normalise(texts[int(text)].as_py()))]
            own = [*([opening] if opening >= 0 else []), *own, *([closing] if closing >= 0 else [])]
            pieces += [ids[at : places[text]], np.array(own, dtype=ids.dtype)]
            at = int(places[text])
            lengths[text] = len(own)
        return np.concatenate([*pieces, ids[at:]]), lengths

    # --- chunk numbers -----------------------------------------------------------------------

    def _number(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray, _State]:
        """Chunk numbers of all texts, concatenated, the end of each text, and a state that contains all of them."""
        data, offsets = _bytes(texts)
        numbers = np.empty(int(offsets[-1]) + 1, dtype=np.int32)
        ends = np.empty(len(offsets) - 1, dtype=np.int64)
        missed = np.empty((MISSES, 3), dtype=np.int64)
        text = at = count = 0
        while True:
            state = self._state
            found = scan.scan(data, offsets, state.table, state.arena, state.known, text, at, count, numbers, ends, missed)
            text, at, count, misses = found
            if misses:
                with self._lock:
                    state = self._state = self._add(data, missed[:misses], numbers)
            if text == len(ends):
                return numbers[:count], ends, state

    def _add(self, data: np.ndarray, missed: np.ndarray, numbers: np.ndarray) -> _State:
        state = self._state
        arena = _roomier(state.arena, state.used, int(np.maximum(missed[:, 2] - 16, 0).sum()))
        table, used, known, row = state.table, state.used, state.known, 0
        fresh = np.empty(len(missed), dtype=np.int64)
        while True:
            begun = known - state.known
            row, used, known = scan.insert(data, missed, row, table, arena, used, known, numbers, fresh[begun:])
            if row == len(missed):
                break
            larger = np.zeros((2 * len(table), 4), dtype=np.uint64)
            scan.grow(table, arena, larger)
            table = larger
        rows = missed[fresh[: known - state.known]]
        chunks = [normalise(data[at : at + length].tobytes().decode("utf-8")) for _, at, length in rows.tolist()]
        grown = replace(state, table=table, arena=arena, used=used)
        return self._learn(grown, chunks) if chunks else grown

    def _learn(self, state: _State, chunks: list[str]) -> _State:
        """Add the tokens of new chunks, and the classes of their edges."""
        wild = [i for i, chunk in enumerate(chunks) if _is_wild(chunk)]
        for i in wild:
            chunks[i] = " "
        found = self._chunks.rows(chunks)
        lefts, rights = self._lefts, self._rights
        left = np.array([lefts.setdefault(row.starts, len(lefts)) for row in found], dtype=np.int32)
        right = np.array([rights.setdefault(row.ends, len(rights)) for row in found], dtype=np.int32)
        left[wild] = -1
        ids = self._ids
        flat = np.array([ids(token) for row in found for token in row.tokens], dtype=np.uint32)
        sizes = np.array([len(row.tokens) for row in found], dtype=np.int64)
        ends = np.cumsum(sizes) + state.starts[state.known]
        known = state.known
        return replace(
            state,
            known=known + len(chunks),
            starts=_appended(state.starts, known + 1, ends),
            tokens=_appended(state.tokens, int(state.starts[known]), flat),
            rows=_appended(state.rows, known, _packed(flat, sizes, left, right)),
            left=_appended(state.left, known, left),
            right=_appended(state.right, known, right),
            pairs=self._crossings(state.pairs),
        )

    def _crossings(self, before: np.ndarray) -> np.ndarray:
        """bool [right class, left class]: whether a special case could span the two edges."""
        if before.shape == (len(self._rights), len(self._lefts)):
            return before
        pairs = self._chunks.rules.pairs
        matrix = np.zeros((len(self._rights), len(self._lefts)), dtype=np.bool_)
        for ends, row in self._rights.items():
            for starts, column in self._lefts.items():
                matrix[row, column] = any((end, start) in pairs for end in ends for start in starts)
        return matrix

    # --- counting ----------------------------------------------------------------------------

    def tally(self, texts: pa.Array, whole: Counter[str]) -> np.ndarray:
        """The counts per chunk number of a batch; tokens of flagged texts are added to `whole`."""
        numbers, ends, state = self._number(texts)
        flagged = np.empty(len(ends), dtype=np.bool_)
        scan.flag(numbers, ends, state.left, state.right, state.pairs, flagged)
        counts = np.bincount(numbers, minlength=state.known)
        starts = np.concatenate([[0], ends])
        for text in np.flatnonzero(flagged).tolist():
            np.subtract.at(counts, numbers[starts[text] : starts[text + 1]], 1)
            whole.update(self._chunks.rules.split(normalise(texts[text].as_py())))
        return counts

    def token_counts(self, chunk_counts: np.ndarray) -> np.ndarray:
        """Counts per chunk number to counts per token id."""
        state = self._state
        sizes = np.diff(state.starts[: len(chunk_counts) + 1])
        owners = np.repeat(chunk_counts, sizes)
        return np.bincount(state.tokens[: len(owners)], weights=owners).astype(np.int64)


def _is_wild(chunk: str) -> bool:
    """Whether a chunk contains non-ASCII white space, which the scan does not recognise."""
    return not chunk.isascii() and chunk.split() != [chunk]


def _packed(flat: np.ndarray, sizes: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The rows of `scan.expand`: up to three ids, their number, and flags for left != 0, right != 0, left < 0."""
    few = sizes <= 3
    rows = np.where(few, sizes, 0).astype(np.uint64) << np.uint64(48)
    starts = np.cumsum(sizes) - sizes
    for i in range(3):
        own = few & (sizes > i)
        rows[own] |= (flat[starts[own] + i] & 0xFFFF).astype(np.uint64) << np.uint64(16 * i)
    for bit, flags in ((50, left != 0), (51, right != 0), (52, left < 0)):
        rows |= flags.astype(np.uint64) << np.uint64(bit)
    return rows


def _roomier(array: np.ndarray, used: int, more: int) -> np.ndarray:
    """The array, or a larger copy of its first `used` entries if `more` entries do not fit."""
    if used + more <= len(array):
        return array
    larger = np.zeros(2 * (used + more), dtype=array.dtype)
    larger[:used] = array[:used]
    return larger


def _appended(array: np.ndarray, used: int, new: np.ndarray) -> np.ndarray:
    array = _roomier(array, used, len(new))
    array[used : used + len(new)] = new
    return array


def _bytes(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """An Arrow array's bytes with the padding that the scan needs, and its offsets from 0."""
    if not pa.types.is_large_string(texts.type):
        texts = texts.cast(pa.large_string())
    content, ends = text_bytes(texts)
    return np.concatenate([content, np.zeros(32, np.uint8)]), ends
