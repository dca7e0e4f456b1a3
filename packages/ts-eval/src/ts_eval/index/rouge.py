"""The training story with the largest ROUGE-2 precision, equal to rouge-score's with `use_stemmer=True`."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from .. import fast
from ..texts import STEMS, stems
from .build import Array, Arrays


class RougeSearch:
    """Counts the stem bigrams that each story shares with the queries, clipped."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.stories = len(arrays.offsets) - 1

    def best(self, texts: Sequence[str], left_out: Array) -> list[tuple[int, float] | None]:
        """Per text (story, precision) of the best story, the lowest number among equals; None for a text without two words."""
        pairs = [Counter(pairwise(words)) for words in map(stems, texts)]
        number: dict[str, int] = {}
        for counts in pairs:
            for pair in counts:
                for word in pair:
                    number.setdefault(word, len(number))
        best, where = self._scan(pairs, number, left_out)
        total = [sum(counts.values()) for counts in pairs]
        return [
            (int(w), int(h) / n) if n and w >= 0 else None for w, h, n in zip(where.tolist(), best.tolist(), total, strict=True)
        ]

    def _scan(self, pairs: Sequence[Counter[tuple[str, str]]], number: dict[str, int], left_out: Array) -> tuple[Array, Array]:
        keys, post, query, count = _postings(pairs, number)
        stem_of = np.array([number.get(s, -1) for s in self._stems] or [-1], np.int32)
        start, end = self._bounds
        stream, size = self.arrays.stream, max(1, len(number))
        scan = fast.load_kernels().scan_rouge2
        parts = fast.in_threads(
            lambda i, j: scan(stream, start, end, stem_of, size, keys, post, query, count, left_out, i, j), self.stories
        )
        hits = np.stack([part[0] for part in parts])
        where = np.stack([part[1] for part in parts])[hits.argmax(axis=0), np.arange(len(pairs))]
        return hits.max(axis=0), where

    @cached_property
    def _stems(self) -> list[str]:
        return [STEMS[word] for word in self.arrays.words]

    @cached_property
    def _bounds(self) -> tuple[Array, Array]:
        """Start and end of each story in rouge-score's words, which stand in the stream's tail where they differ."""
        start, end = self.arrays.offsets[:-1].copy(), self.arrays.offsets[1:].copy()
        for story, first, last in self.arrays.second:
            start[story], end[story] = first, last
        return start, end


def _postings(pairs: Sequence[Counter[tuple[str, str]]], number: dict[str, int]) -> tuple[Array, Array, Array, Array]:
    """Bigrams of all queries, ascending, and for each the queries that hold it and how often."""
    rows = sorted((number[a] * max(1, len(number)) + number[b], q, n) for q, c in enumerate(pairs) for (a, b), n in c.items())
    key = np.array([r[0] for r in rows], np.int64)
    keys, first = np.unique(key, return_index=True)
    post = np.append(first, len(rows)).astype(np.int64)
    return keys, post, np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows], np.int64)
