"""Counts exact and near copies of held-out stories in train, with examples. Read-only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ..dataset import check_files, read, without_prompts
from ..dedup.minhash import ReferenceSet
from ..schemas import LeakageReport, NearConfig, SplitLeakage

if TYPE_CHECKING:
    import pyarrow as pa

    from ..console import Progress

HeldOut = Literal["validation", "test"]
EXAMPLES = 20
"""Pairs shown per split."""


def leakage(splits: str | os.PathLike[str], near: NearConfig | None = None, *, progress: Progress | None = None) -> LeakageReport:
    """Report validation and test stories that are also in train, exactly or nearly (`near`: n-grams and threshold). Prompts
    do not count.

    Streams train; holds the held-out stories in memory.
    """
    manifest = check_files(splits)
    near = near or manifest.config.near
    names: tuple[HeldOut, ...] = ("validation", "test")
    held = {name: [text for batch in read(splits, name).batches() for text in _stories(batch)] for name in names}
    finders = {name: _Finder(texts, near) for name, texts in held.items()}
    train = read(splits, "train")
    done = 0
    for batch in train.batches(4_096):
        texts = _stories(batch)
        for finder in finders.values():
            finder.look(texts, done)
        done += len(texts)
        if progress:
            progress("compare", done, len(train))
    return LeakageReport(
        fingerprint=manifest.fingerprint, near=near, splits={name: finders[name].result(len(held[name])) for name in names}
    )


class _Finder:
    """Matches of one held-out split: for each of its rows the most similar row of train."""

    def __init__(self, texts: Sequence[str], near: NearConfig) -> None:
        self._held = ReferenceSet(texts, near)
        self._rows: dict[bytes, list[int]] = {}
        for row, text in enumerate(texts):
            self._rows.setdefault(_digest(text), []).append(row)
        self._exact: dict[int, int] = {}
        self._near: dict[int, tuple[float, int]] = {}

    def look(self, texts: Sequence[str], first: int) -> None:
        """Compare a batch of train whose first row is `first`."""
        for index, text in enumerate(texts):
            for row in self._rows.get(_digest(text), ()):
                self._exact.setdefault(row, first + index)
        for index, row, similarity in self._held.match(texts):
            if similarity > self._near.get(row, (0.0, 0))[0]:
                self._near[row] = similarity, first + index

    def result(self, stories: int) -> SplitLeakage:
        """Counts and the most similar pairs."""
        pairs = {row: (row, at, similarity) for row, (similarity, at) in self._near.items()}
        pairs.update({row: (row, at, 1.0) for row, at in self._exact.items()})
        ranked = sorted(pairs.values(), key=lambda pair: (-pair[2], pair[0]))
        return SplitLeakage(
            stories=stories,
            exact=len(self._exact),
            near=len(set(self._near) - set(self._exact)),
            examples=tuple((row, at, round(similarity, 4)) for row, at, similarity in ranked[:EXAMPLES]),
        )


def _stories(batch: pa.RecordBatch) -> list[str]:
    """The stories of a batch, without their prompts."""
    stories: list[str] = without_prompts(batch).to_numpy(zero_copy_only=False).tolist()
    return stories


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
