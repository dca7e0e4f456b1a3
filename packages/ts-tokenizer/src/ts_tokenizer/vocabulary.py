"""Token counts of a training split, and the vocabulary that follows from them."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from ts_data.console import Progress
from ts_data.schemas import whole_number

from .checks import check_column, iter_texts
from .errors import ConfigError
from .fast.table import Bulk, open_bulk, utf8
from .rules.chunks import ChunkTable
from .rules.text import normalise
from .schemas import MARKERS, MAX_VOCAB, SPECIALS, Casing

ROWS = 20_000
Batch: TypeAlias = "list[str] | pa.Array"
Item = TypeVar("Item")
Result = TypeVar("Result")


def reserved(casing: Casing) -> tuple[str, ...]:
    """The reserved entries (markers and special tokens) in id order."""
    return (*(MARKERS if casing == "keep" else ()), *SPECIALS)


def check_size(vocab_size: int, casing: Casing) -> int:
    """The number of words that fit beside the reserved entries. Raises ConfigError if none fits, or if ids exceed uint16."""
    if casing not in ("lower", "keep"):
        raise ConfigError(f"casing: {casing!r} is unknown; choose lower or keep.")
    size = whole_number(vocab_size)
    if size is None:
        raise ConfigError(f"vocab_size: {vocab_size!r} is not an integer.")
    taken = len(reserved(casing))
    if not taken < size <= MAX_VOCAB:
        raise ConfigError(
            f"vocab_size: {size:,} is out of range; with casing={casing} it must lie between {taken + 1} and {MAX_VOCAB:,}."
        )
    return size - taken


def choose(counts: Mapping[str, int], vocab_size: int, casing: Casing) -> list[str]:
    """The entries in id order: words by falling count (ties by the word), then markers and specials.

    There are fewer than `vocab_size` if the text has fewer distinct tokens.
    """
    room = check_size(vocab_size, casing)
    last = reserved(casing)
    words = sorted((word for word, count in counts.items() if count > 0 and word not in last), key=lambda w: (-counts[w], w))
    return [*words[:room], *last]


# --- counting ----------------------------------------------------------------------------------


def count_tokens(
    texts: Iterable[str], table: ChunkTable, sample: int, progress: Progress | None = None
) -> tuple[Counter[str], list[str], int]:
    """Return (count of each token, up to `sample` stories spread evenly, number of stories).

    Texts with a `batches` method (from `ts_data.read`) are read as Arrow batches; any other iterable of strings works too.
    """
    spread = _Spread(sample)
    ids: dict[str, int] = {}
    bulk = open_bulk(table, lambda token: ids.setdefault(token, len(ids)))
    chunk_counts, whole = np.zeros(0, dtype=np.int64), Counter[str]()
    for counts, flagged, batch in in_turn(lambda batch: _tally(batch, table, bulk), _batches(texts)):
        chunk_counts = np.pad(chunk_counts, (0, max(0, len(counts) - len(chunk_counts))))
        chunk_counts[: len(counts)] += counts
        whole.update(flagged)
        spread.add(batch)
        if progress is not None:
            progress("vocabulary", spread.seen, None)
    if progress is not None:
        progress("vocabulary", spread.seen, spread.seen)
    if bulk is not None:
        whole.update(dict(zip(ids, bulk.token_counts(chunk_counts).tolist(), strict=False)))
    return +whole, spread.kept, spread.seen


def _tally(batch: Batch, table: ChunkTable, bulk: Bulk | None) -> tuple[np.ndarray, Counter[str], Batch]:
    """Counts per chunk number, and token counts of texts that chunks do not describe."""
    whole = Counter[str]()
    array = batch if isinstance(batch, pa.Array) else utf8(batch)
    if bulk is not None and array is not None:
        return bulk.tally(array, whole), whole, batch
    for text in batch if isinstance(batch, list) else batch.to_pylist():
        whole.update(table.split(normalise(text)))
    return np.zeros(0, dtype=np.int64), whole, batch


def in_turn(work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """Map `work` over items on threads, one per core by default; results keep their order and few items are pending."""
    workers = workers or os.cpu_count() or 1
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            pending.append(pool.submit(work, item))
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
    """Every n-th story, where n doubles when the sample holds twice its size: even, and independent of the batching."""

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
