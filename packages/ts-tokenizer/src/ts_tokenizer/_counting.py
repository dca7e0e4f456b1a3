"""Token counts of a training split, and an even sample of its stories; nothing is learned here."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from ._bulk import Bulk, open_bulk, utf8
from ._checks import check_column, iter_texts
from ._chunks import ChunkTable
from ._surface import normalise

if TYPE_CHECKING:
    from ts_data.console import Progress

__all__ = ["count_tokens"]

ROWS = 20_000
Batch: TypeAlias = "list[str] | pa.Array"
Result = TypeVar("Result")


def count_tokens(
    texts: Iterable[str], table: ChunkTable, sample: int, progress: Progress | None = None
) -> tuple[Counter[str], list[str], int]:
    """(count of each token, up to `sample` stories spread evenly, number of stories).

    Texts with a `batches` method (what `ts_data.read` gives) are read as Arrow batches; any iterable of strings does.
    """
    spread = _Spread(sample)
    ids: dict[str, int] = {}
    bulk = open_bulk(table, lambda token: ids.setdefault(token, len(ids)))
    chunk_counts, whole = np.zeros(0, dtype=np.int64), Counter[str]()
    for counts, flagged, batch in _in_turn(lambda batch: _tally(batch, table, bulk), _batches(texts)):
        chunk_counts = _add(chunk_counts, counts)
        whole.update(flagged)
        spread.add(batch)
        if progress is not None:
            progress("vocabulary", spread.seen, None)
    if bulk is not None:
        whole.update(dict(zip(ids, bulk.token_counts(chunk_counts).tolist(), strict=False)))
    return +whole, spread.kept, spread.seen


def _tally(batch: Batch, table: ChunkTable, bulk: Bulk | None) -> tuple[np.ndarray, Counter[str], Batch]:
    """Counts per chunk number, and the counts of the tokens that no chunk number stands for."""
    whole = Counter[str]()
    array = batch if isinstance(batch, pa.Array) else utf8(batch)
    if bulk is not None and array is not None:
        return bulk.tally(array, np.zeros(0, dtype=np.int64), whole), whole, batch
    for text in batch if isinstance(batch, list) else batch.to_pylist():
        whole.update(table.split(normalise(text)))
    return np.zeros(0, dtype=np.int64), whole, batch


def _add(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total


def _in_turn(work: Callable[[Batch], Result], batches: Iterable[Batch]) -> Iterator[Result]:
    """The results in order, computed on all cores, with few batches in the air."""
    workers = os.cpu_count() or 1
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for batch in batches:
            pending.append(pool.submit(work, batch))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _batches(texts: Iterable[str]) -> Iterator[Batch]:
    if hasattr(texts, "batches"):
        done = 0
        for batch in texts.batches(ROWS):
            yield check_column(batch.column("text"), first=done)
            done += len(batch)
        return
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        yield check_column(texts)
        return
    checked = iter_texts(texts)
    while batch := list(islice(checked, ROWS)):
        yield batch


class _Spread:
    """Every n-th story, n doubling whenever the sample is full twice over: even, and the same however it is batched."""

    def __init__(self, size: int) -> None:
        self._size, self._step = size, 1
        self._picked: list[str] = []
        self.seen = 0

    def add(self, batch: Batch) -> None:
        for i in range(-self.seen % self._step, len(batch) if self._size else 0, self._step):
            story = batch[i]
            self._picked.append(story if isinstance(story, str) else story.as_py())
        self.seen += len(batch)
        while len(self._picked) > 2 * self._size:
            self._picked = self._picked[::2]
            self._step *= 2

    @property
    def kept(self) -> list[str]:
        step = -(-len(self._picked) // max(1, self._size))
        return self._picked[:: max(1, step)]
