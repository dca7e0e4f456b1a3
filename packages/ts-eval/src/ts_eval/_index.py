"""StoryIndex: for any text the closest of all training stories, exactly. Searching only; `_build` makes the arrays.

Three searches over the same stream of words: TF-IDF cosine (scikit-learn's `TfidfVectorizer` fitted on the stories),
the largest ROUGE-2 precision (rouge-score's, stemmed), and the longest run of words in common.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _index_store
from ._automaton import Automaton, Found, read_back
from ._build import Arrays, build_arrays, idf_of
from ._checks import need_count, need_path, need_text, need_texts, same_length, sequence_of_texts
from ._kernels import kernels
from ._threads import in_threads
from ._words import runs, stem, stems
from .errors import ConfigError, IndexMismatchError

if TYPE_CHECKING:
    from ts_data.console import Progress

__all__ = ["Match", "Span", "StoryIndex"]

Array = NDArray[Any]
QUERIES = 128
"""Queries per pass: their weights then stay within the processor's cache."""
SPARE = 64
"""Candidates kept beyond k, so that most near-ties are settled without a second look."""
COMPARED = 200
"""Stories that are compared with an index that is opened for them."""
RARE = 0.005
"""A template masks words that stand in fewer than this share of the stories."""


@dataclass(frozen=True, slots=True)
class Match:
    """A training story: its place, how close it is (0 to 1), and its text where the index has the texts."""

    index: int
    score: float
    text: str | None


@dataclass(frozen=True, slots=True)
class Span:
    """The longest run of words that a training story holds too.

    `start` and `words` count the text's own words; `text` is that stretch of it; `index` is the first story with it
    (-1: none); `count` is how often the run occurs in all stories.
    """

    words: int
    start: int
    text: str
    index: int
    count: int
    total: int


class StoryIndex:
    """Exact search over stories. `build` makes one in memory, `open` reads one from disk, `cached` does what is needed.

    It pickles and copies: by its folder where it has one, else with its arrays.
    """

    def __init__(
        self,
        arrays: Arrays,
        stories: Sequence[str] | None = None,
        *,
        kernel: str | None = None,
        sha256: str = "",
        path: Path | None = None,
    ) -> None:
        self.arrays = arrays
        self.stories = stories
        self.sha256 = sha256
        self.path = path
        self._kernel_name = kernel
        self._kernel = kernels(kernel)
        self.words = {word: i for i, word in enumerate(arrays.words)}
        self.idf = idf_of(arrays.df, arrays.words, len(self))

    @classmethod
    def build(cls, stories: Sequence[str], *, kernel: str | None = None, progress: Progress | None = None) -> StoryIndex:
        """An index in memory over all stories.

        >>> StoryIndex.build(["A cat sat.", "A dog ran far."]).closest(["The dog ran."], k=1)[0][0].index
        1
        """
        kernels(kernel)  # a wrong name is refused before the work
        stories = _some_stories(stories)
        return cls(build_arrays(stories, len(stories), progress=progress), stories, kernel=kernel)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        stories: Sequence[str] | None = None,
        *,
        corpus: str | None = None,
        kernel: str | None = None,
    ) -> StoryIndex:
        """Read an index from its folder. ArtefactError when it is damaged, IndexMismatchError when it is of other stories.

        That is told by their number and by `corpus`; without `corpus`, some stories, evenly spread, are compared.
        """
        kernels(kernel)
        stories = None if stories is None else _some_stories(stories)
        folder = need_path(path, "path")
        arrays, sha256 = _index_store.load(folder, stories, corpus=corpus)
        index = cls(arrays, stories, kernel=kernel, sha256=sha256, path=folder)
        if stories is not None and corpus is None:
            index._compare(stories)
        return index

    def _compare(self, stories: Sequence[str]) -> None:
        """Raise IndexMismatchError where one of some evenly spread stories has other words than the index."""
        for i in sorted(set(np.linspace(0, len(self) - 1, COMPARED).astype(int).tolist())):
            if [self.words.get(word) for word in runs(need_text(stories[i], f"stories[{i}]"))] != self._ids(i).tolist():
                raise IndexMismatchError(f"{self.path}: is of other stories (story {i:,} has other words). Delete the folder.")

    @classmethod
    def cached(
        cls, path: str | os.PathLike[str], stories: Sequence[str], *, corpus: str | None = None, progress: Progress | None = None
    ) -> StoryIndex:
        """The index at `path` when it is of these stories and of this version, else a new one written there."""
        stories, folder = _some_stories(stories), need_path(path, "path")
        arrays, sha256 = _index_store.cached(folder, stories, corpus=corpus, progress=progress)
        return cls(arrays, stories, sha256=sha256, path=folder)

    def __getstate__(self) -> dict[str, Any]:
        """An index on disk pickles as its folder, one in memory with its arrays."""
        arrays = self.arrays if self.path is None else None
        path = None if self.path is None else self.path.absolute()
        return {"arrays": arrays, "stories": self.stories, "kernel": self._kernel_name, "sha256": self.sha256, "path": path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reads the arrays again where they lie on disk. IndexMismatchError when another index lies there by now."""
        path: Path | None = state["path"]
        arrays, sha256 = (state["arrays"], "") if path is None else _index_store.load(path)
        if sha256 != state["sha256"]:
            raise IndexMismatchError(f"{path}: is another index by now than the one that was pickled. Pickle it again.")
        StoryIndex.__init__(self, arrays, state["stories"], kernel=state["kernel"], sha256=sha256, path=path)

    def __len__(self) -> int:
        return len(self.arrays.offsets) - 1

    # --- cosine --------------------------------------------------------------------------------

    def closest(self, texts: Sequence[str], k: int = 5, *, own: Sequence[int] | None = None) -> list[list[Match]]:
        """The k stories with the largest TF-IDF cosine to each text, best first, the lower index first among equals.

        `own[i]` is a story to leave out for text i (-1: none). The scan is in float32; what lies within its rounding of
        the k-th is rescored in float64, so the order is exact.
        """
        texts, k = need_texts(texts, "texts"), need_count(k, "k")
        left_out = self._own(texts, own)
        result: list[list[Match]] = []
        for at in range(0, len(texts), QUERIES):
            result += self._closest(texts[at : at + QUERIES], k, left_out[at : at + QUERIES])
        return result

    def _closest(self, texts: Sequence[str], k: int, own: Array) -> list[list[Match]]:
        vectors = [self.vector(text) for text in texts]
        row, weights = self._weights(vectors)
        a, keep = self.arrays, min(k + SPARE, len(self))
        parts = in_threads(
            lambda i, j: self._kernel.scan_cosine(a.stream, a.offsets, a.norms, row, weights, own, i, j, keep), len(self)
        )
        score = np.concatenate([part[0] for part in parts], axis=1)
        index = np.concatenate([part[1] for part in parts], axis=1)
        order = np.argsort(-score, axis=1, kind="stable")[:, :keep]
        score, index = np.take_along_axis(score, order, axis=1), np.take_along_axis(index, order, axis=1)
        found = [self._settle(vectors[q], score[q], index[q], k, int(own[q])) for q in range(len(texts))]
        story = self._texts(i for row in found for i, _ in row)
        return [[Match(i, cosine, story.get(i)) for i, cosine in row] for row in found]

    def _settle(self, vector: dict[int, float], score: Array, index: Array, k: int, own: int) -> list[tuple[int, float]]:
        there = index >= 0
        score, index = score[there], index[there]
        if not len(index):
            return []
        kth = float(score[min(k, len(score)) - 1])
        slack = kth * self._rounding
        if kth > 0 and len(score) < len(self) and score[-1] >= kth - slack:
            index = self._near(vector, kth - slack, own)
        else:
            index = index[score >= kth - slack]
        exact = [(-self.cosine_to(vector, int(i)), int(i)) for i in index]
        return [(i, -negative) for negative, i in sorted(exact)[:k]]

    def _near(self, vector: dict[int, float], least: float, own: int) -> Array:
        """Every story whose float32 cosine is at least `least`."""
        row, weights = self._weights([vector])
        a = self.arrays
        parts = in_threads(lambda i, j: self._kernel.score_cosine(a.stream, a.offsets, a.norms, row, weights, i, j), len(self))
        near: Array = np.flatnonzero(np.concatenate(parts) >= least)
        other: Array = near[near != own]
        return other

    @cached_property
    def _rounding(self) -> float:
        """Relative error of a float32 cosine, doubled: a sum of as many terms as the longest story has words."""
        return 2 * (int(np.diff(self.arrays.offsets).max()) + 10) * 2.0**-24

    def vector(self, text: str) -> dict[int, float]:
        """The text's tf-idf vector of length 1, word id → weight; words that no story has are dropped."""
        counts = Counter(self.words[word] for word in runs(need_text(text, "text")) if word in self.words)
        raw = {word: n * float(self.idf[word]) for word, n in sorted(counts.items()) if self.idf[word] > 0}
        norm = float(np.sqrt(sum(x * x for x in raw.values())))
        return {word: x / norm for word, x in raw.items()}

    def cosine(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        """TF-IDF cosine of pairs of texts; 0 where one has no word that the stories have."""
        first, second = need_texts(first, "first"), need_texts(second, "second")
        same_length(first, second, ("first texts", "second texts"))
        pairs = zip(map(self.vector, first), map(self.vector, second), strict=True)
        return [min(1.0, sum(x * b[word] for word, x in a.items() if word in b)) for a, b in pairs]

    def cosine_to(self, vector: dict[int, float], story: int) -> float:
        """Cosine of a vector and a story in float64."""
        ids, counts = np.unique(self._ids(story), return_counts=True)
        values = counts * self.idf[ids]
        norm = np.sqrt((values * values).sum())
        if not norm:
            return 0.0
        return float(min(1.0, (values * np.array([vector.get(i, 0.0) for i in ids.tolist()])).sum() / norm))

    def _weights(self, vectors: Sequence[dict[int, float]]) -> tuple[Array, Array]:
        used = sorted({word for vector in vectors for word in vector})
        row = np.full(max(1, len(self.words)), -1, np.int32)
        row[used] = np.arange(len(used))
        weights = np.zeros((len(used), len(vectors)), np.float32)
        for q, vector in enumerate(vectors):
            for word, x in vector.items():
                weights[row[word], q] = x * self.idf[word]
        return row, weights

    # --- ROUGE-2 -------------------------------------------------------------------------------

    def max_rouge2_precision(self, texts: Sequence[str], *, own: Sequence[int] | None = None) -> list[Match | None]:
        """The story with the largest ROUGE-2 precision for each text as candidate; None for a text without two words."""
        texts = need_texts(texts, "texts")
        left_out = self._own(texts, own)
        result: list[Match | None] = []
        for at in range(0, len(texts), QUERIES):
            result += self._rouge2(texts[at : at + QUERIES], left_out[at : at + QUERIES])
        return result

    def _rouge2(self, texts: Sequence[str], own: Array) -> list[Match | None]:
        pairs = [Counter(pairwise(words)) for words in map(stems, texts)]
        number: dict[str, int] = {}
        for counts in pairs:
            for pair in counts:
                for word in pair:
                    number.setdefault(word, len(number))
        keys, post, query, count = _postings(pairs, number)
        stem_of = np.array([number.get(s, -1) for s in self._stems] or [-1], np.int32)
        start, end = self._rouge_spans
        size = max(1, len(number))
        parts = in_threads(
            lambda i, j: self._kernel.scan_rouge2(
                self.arrays.stream, start, end, stem_of, size, keys, post, query, count, own, i, j
            ),
            len(self),
        )
        hits = np.stack([part[0] for part in parts])
        best = hits.argmax(axis=0)
        where = np.stack([part[1] for part in parts])[best, np.arange(len(texts))]
        total = [sum(counts.values()) for counts in pairs]
        story = self._texts(where.tolist())
        return [
            Match(int(w), int(h) / n, story.get(int(w))) if n and w >= 0 else None
            for w, h, n in zip(where, hits.max(axis=0), total, strict=True)
        ]

    @cached_property
    def _stems(self) -> list[str]:
        return [stem(word) for word in self.arrays.words]

    @cached_property
    def _rouge_spans(self) -> tuple[Array, Array]:
        """Start and end of each story in rouge-score's words: in the stream's tail where they are others."""
        start, end = self.arrays.offsets[:-1].copy(), self.arrays.offsets[1:].copy()
        for story, first, last in self.arrays.second:
            start[story], end[story] = first, last
        return start, end

    # --- spans ---------------------------------------------------------------------------------

    def longest_spans(self, texts: Sequence[str], *, own: Sequence[int] | None = None, template: bool = False) -> list[Span]:
        """The longest run of words that each text shares with some story; case and punctuation do not count.

        `template` masks names and rare words first, so that the same story with other names is found.
        """
        texts = need_texts(texts, "texts")
        left_out = self._own(texts, own)
        classes, unknown = self._template if template else (np.arange(len(self.words)), -1)
        result: list[Span] = []
        for at in range(0, len(texts), QUERIES):
            result += self._spans(texts[at : at + QUERIES], left_out[at : at + QUERIES], classes, unknown)
        return result

    def _spans(self, texts: Sequence[str], own: Array, classes: Array, unknown: int) -> list[Span]:
        words = [runs(text) for text in texts]
        kinds = [[int(classes[self.words[w]]) if w in self.words else unknown for w in line] for line in words]
        used = {kind: i for i, kind in enumerate(sorted({k for line in kinds for k in line if k >= 0}))}
        table = np.full(len(self.words) + 1, -1, np.int32)
        for kind, i in used.items():
            table[kind] = i
        number = table[classes] if len(classes) else np.full(1, -1, np.int32)
        machine = Automaton([[used.get(kind, -1) for kind in line] for line in kinds], max(1, len(used)))
        mine = sorted({int(i) for i in own if i >= 0})
        scans = self._scan_spans(machine, number, mine)
        found = read_back(machine, scans, [len(scans) - len(mine) + mine.index(int(i)) if i >= 0 else -1 for i in own])
        return [_span(text, len(line), f) for text, line, f in zip(texts, words, found, strict=True)]

    def _scan_spans(self, machine: Automaton, number: Array, mine: list[int]) -> list[tuple[Array, ...]]:
        """All stories but `mine` in threads, then each of `mine` by itself."""
        a, m = self.arrays, machine
        fixed = (a.stream, a.offsets, number, m.root, m.edge, m.edge_word, m.edge_to, m.link, m.length)
        skip, none = np.array(mine, np.int64), np.zeros(0, np.int64)
        scans: list[tuple[Array, ...]] = in_threads(lambda i, j: self._kernel.scan_spans(*fixed, skip, i, j), len(self))
        return scans + [self._kernel.scan_spans(*fixed, none, s, s + 1) for s in mine]

    @cached_property
    def _template(self) -> tuple[Array, int]:
        """Class per word: itself, or one class for names, rare words and words never seen."""
        masked = self.arrays.df < RARE * len(self)
        masked[[self.words[name] for name in self.arrays.names if name in self.words]] = True
        return np.where(masked, len(self.words), np.arange(len(self.words))), len(self.words)

    # --- small things --------------------------------------------------------------------------

    def _ids(self, story: int) -> Array:
        return np.asarray(self.arrays.stream[self.arrays.offsets[story] : self.arrays.offsets[story + 1]])

    def _texts(self, numbers: Iterable[int]) -> dict[int, str]:
        """The texts asked for, read in ascending order: a split on disk holds one stretch of stories at a time."""
        stories = self.stories
        return {} if stories is None else {i: stories[i] for i in sorted(set(numbers)) if i >= 0}

    def _own(self, texts: Sequence[str], own: Sequence[int] | None) -> Array:
        if own is None:
            return np.full(len(texts), -1, np.int64)
        left_out = np.asarray(own)
        if left_out.ndim != 1 or (len(left_out) and left_out.dtype.kind not in "iu"):
            raise TypeError("own: a list with a story's number for each text is expected, -1 for none.")
        if len(left_out) != len(texts):
            raise ConfigError(f"{len(texts)} texts, but {len(left_out)} stories to leave out")
        if len(left_out) and not -1 <= int(left_out.min()) <= int(left_out.max()) < len(self):
            wrong = next(int(i) for i in left_out if not -1 <= i < len(self))
            raise ConfigError(f"story {wrong} is to be left out, but the index has {len(self)}; -1 leaves out none")
        return left_out.astype(np.int64)


def _some_stories(stories: object) -> Sequence[str]:
    """The stories of an index: at least one. Each is checked when it is read."""
    found = sequence_of_texts(stories, "stories")
    if not len(found):
        raise ConfigError("an index needs at least one story")
    return found


def _postings(pairs: Sequence[Counter[tuple[str, str]]], number: dict[str, int]) -> tuple[Array, Array, Array, Array]:
    """Bigrams of all queries, ascending, and for each the queries that hold it and how often."""
    rows = sorted((number[a] * max(1, len(number)) + number[b], q, n) for q, c in enumerate(pairs) for (a, b), n in c.items())
    key = np.array([r[0] for r in rows], np.int64)
    keys, first = np.unique(key, return_index=True)
    post = np.append(first, len(rows)).astype(np.int64)
    return keys, post, np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows], np.int64)


def _span(text: str, total: int, found: Found) -> Span:
    import re

    start = found.end - found.words
    lower = text.lower()
    places = [m.span() for m in re.finditer(r"\w+", lower)]
    source = text if len(text) == len(lower) else lower
    stretch = source[places[start][0] : places[found.end - 1][1]] if found.words else ""
    return Span(found.words, start, stretch, found.story, found.count, total)
