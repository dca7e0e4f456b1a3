"""Token counts of a training split, and an even sample of its stories; nothing is learned here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ._bulk import open_bulk, utf8
from ._chunks import ChunkTable
from ._rules import Rules
from ._surface import normalise

if TYPE_CHECKING:
    from ts_data.console import Progress

__all__ = ["count_tokens"]

ROWS = 20_000


def count_tokens(
    texts: Iterable[str], rules: Rules, sample: int, progress: Progress | None = None
) -> tuple[Counter[str], list[str], int]:
    """(count of each token, up to `sample` stories spread evenly, number of stories).

    Texts with a `batches` method (what `ts_data.read` gives) are read as Arrow batches; any iterable of strings does.
    """
    table, spread = ChunkTable(rules), _Spread(sample)
    ids: dict[str, int] = {}
    bulk = open_bulk(table, lambda token: ids.setdefault(token, len(ids)))
    chunk_counts, whole = np.zeros(0, dtype=np.int64), Counter[str]()
    for batch in _batches(texts):
        array = batch if isinstance(batch, pa.Array) else utf8(batch)
        if bulk is not None and array is not None:
            chunk_counts = bulk.tally(array, chunk_counts, whole)
        else:
            for text in batch if isinstance(batch, list) else batch.to_pylist():
                whole.update(table.split(normalise(text)))
        spread.add(batch)
        if progress is not None:
            progress("vocabulary", spread.seen, None)
    if bulk is not None:
        whole.update(dict(zip(ids, bulk.token_counts(chunk_counts).tolist(), strict=False)))
    return +whole, spread.kept, spread.seen


def _batches(texts: Iterable[str]) -> Iterator[list[str] | pa.Array]:
    if hasattr(texts, "batches"):
        yield from (batch.column("text") for batch in texts.batches(ROWS))
        return
    iterator = iter(texts)
    while batch := list(islice(iterator, ROWS)):
        yield batch


class _Spread:
    """Every n-th story, n doubling whenever the sample is full twice over: even, and the same however it is batched."""

    def __init__(self, size: int) -> None:
        self._size, self._step = size, 1
        self._picked: list[str] = []
        self.seen = 0

    def add(self, batch: list[str] | pa.Array) -> None:
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
