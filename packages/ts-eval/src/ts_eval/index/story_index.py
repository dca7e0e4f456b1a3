"""StoryIndex: for any text the closest of all training stories, exactly.

Three searches scan the same stream of word ids: TF-IDF cosine (scikit-learn's `TfidfVectorizer` fitted on the stories), the largest
ROUGE-2 precision (rouge-score's, stemmed), and the longest run of words in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import Progress, StrPath, need_count, need_path, need_text, need_texts, same_length, sequence_of_texts
from ..errors import ConfigError, IndexMismatchError
from ..texts import runs
from . import store
from .build import Array, Arrays, build_arrays, idf_of
from .cosine import CosineSearch
from .rouge import RougeSearch
from .spans import Span, SpanSearch

QUERIES = 128
"""Queries per pass: their weights then stay within the processor's cache."""
COMPARED = 200
"""Stories that `open` compares with the index when the corpus hash is not known."""


@dataclass(frozen=True, slots=True)
class Match:
    """A training story: its number, its score (0 to 1), and its text if the index holds the texts."""

    index: int
    score: float
    text: str | None


class StoryIndex:
    """Exact search over stories. `build` makes an index in memory, `open` reads one from disk, `cached` reads or builds.

    Picklable: an index on disk pickles as its path, one in memory with its arrays.
    """

    def __init__(
        self, arrays: Arrays, stories: Sequence[str] | None = None, *, sha256: str = "", path: Path | None = None
    ) -> None:
        self.arrays = arrays
        self.stories = stories
        self.sha256 = sha256
        self.path = path
        self.words = {word: i for i, word in enumerate(arrays.words)}
        self.idf = idf_of(arrays.df, arrays.words, len(self))
        self._cosine = CosineSearch(arrays, self.words, self.idf)
        self._rouge, self._spans = RougeSearch(arrays), SpanSearch(arrays, self.words)

    @classmethod
    def build(cls, stories: Sequence[str], *, progress: Progress | None = None) -> StoryIndex:
        """Index all stories in memory.

        >>> StoryIndex.build(["A cat sat.", "A dog ran far."]).closest(["The dog ran."], k=1)[0][0].index
        1
        """
        stories = _need_stories(stories)
        return cls(build_arrays(stories, len(stories), progress=progress), stories)

    @classmethod
    def open(cls, path: StrPath, stories: Sequence[str] | None = None, *, corpus: str | None = None) -> StoryIndex:
        """Read an index from its folder. ArtefactError if it is damaged, IndexMismatchError if it is of other stories.

        Checks the number of stories and `corpus`; without `corpus`, compares a sample of stories, evenly spread.
        """
        stories = None if stories is None else _need_stories(stories)
        folder = need_path(path, "path")
        arrays, sha256 = store.load(folder, stories, corpus=corpus)
        index = cls(arrays, stories, sha256=sha256, path=folder)
        if stories is not None and corpus is None:
            index._compare(stories)
        return index

    @classmethod
    def cached(
        cls, path: StrPath, stories: Sequence[str], *, corpus: str | None = None, progress: Progress | None = None
    ) -> StoryIndex:
        """Read the index at `path` if it is of these stories and of this version; otherwise build it there."""
        stories, folder = _need_stories(stories), need_path(path, "path")
        arrays, sha256 = store.cached(folder, stories, corpus=corpus, progress=progress)
        return cls(arrays, stories, sha256=sha256, path=folder)

    def _compare(self, stories: Sequence[str]) -> None:
        """Raise IndexMismatchError if a sampled story has other words than the index."""
        for i in sorted(set(np.linspace(0, len(self) - 1, COMPARED).astype(int).tolist())):
            ids = self.arrays.story(i).tolist()
            if [self.words.get(word) for word in runs(need_text(stories[i], f"stories[{i}]"))] != ids:
                raise IndexMismatchError(f"{self.path}: is of other stories (story {i:,} has other words). Delete the folder.")

    def __len__(self) -> int:
        return len(self.arrays.offsets) - 1

    def __repr__(self) -> str:
        place = "in memory" if self.path is None else f"at {self.path}"
        return f"StoryIndex({len(self):,} stories, {len(self.words):,} words, {place})"

    def __getstate__(self) -> dict[str, Any]:
        arrays = self.arrays if self.path is None else None
        path = None if self.path is None else self.path.absolute()
        return {"arrays": arrays, "stories": self.stories, "sha256": self.sha256, "path": path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reads the arrays from disk again if they lie there. IndexMismatchError if the index at `path` has changed."""
        path: Path | None = state["path"]
        arrays, sha256 = (state["arrays"], "") if path is None else store.load(path)
        if sha256 != state["sha256"]:
            raise IndexMismatchError(f"{path}: the index has changed since it was pickled. Pickle it again.")
        StoryIndex.__init__(self, arrays, state["stories"], sha256=sha256, path=path)

    # --- searches ------------------------------------------------------------------------------

    def closest(self, texts: Sequence[str], k: int = 5, *, own: Sequence[int] | None = None) -> list[list[Match]]:
        """The k stories with the largest TF-IDF cosine to each text, best first, the lower index first among equals.

        `own[i]` is a story to leave out for text i (-1: none). Exact: near ties of the float32 scan are rescored in float64.
        """
        texts, k = need_texts(texts, "texts"), need_count(k, "k")
        found = [row for batch, out in self._batches(texts, own) for row in self._cosine.closest(batch, k, out)]
        story = self._texts(i for row in found for i, _ in row)
        return [[Match(i, score, story.get(i)) for i, score in row] for row in found]

    def max_rouge2_precision(self, texts: Sequence[str], *, own: Sequence[int] | None = None) -> list[Match | None]:
        """The story with the largest ROUGE-2 precision for each text as candidate; None for a text without two words."""
        texts = need_texts(texts, "texts")
        found = [best for batch, out in self._batches(texts, own) for best in self._rouge.best(batch, out)]
        story = self._texts(best[0] for best in found if best)
        return [Match(best[0], best[1], story.get(best[0])) if best else None for best in found]

    def longest_spans(self, texts: Sequence[str], *, own: Sequence[int] | None = None, template: bool = False) -> list[Span]:
        """The longest run of words that each text shares with a story; ignores case and punctuation.

        `template` masks names and rare words first, which finds the same story with other names.
        """
        texts = need_texts(texts, "texts")
        return [span for batch, out in self._batches(texts, own) for span in self._spans.longest(batch, out, template)]

    def cosine(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        """TF-IDF cosine of pairs of texts; 0 if one has no word that the stories have."""
        first, second = need_texts(first, "first"), need_texts(second, "second")
        same_length(first, second, ("first texts", "second texts"))
        return [self._cosine.of_pair(a, b) for a, b in zip(first, second, strict=True)]

    def _batches(self, texts: Sequence[str], own: Sequence[int] | None) -> Iterable[tuple[Sequence[str], Array]]:
        """Batches of queries, each with the story that it leaves out (-1: none)."""
        left_out = self._left_out(texts, own)
        return [(texts[at : at + QUERIES], left_out[at : at + QUERIES]) for at in range(0, len(texts), QUERIES)]

    def _texts(self, numbers: Iterable[int]) -> dict[int, str]:
        """The texts of these stories, read in ascending order: a split on disk holds one row group at a time in memory."""
        stories = self.stories
        return {} if stories is None else {i: stories[i] for i in sorted(set(numbers)) if i >= 0}

    def _left_out(self, texts: Sequence[str], own: Sequence[int] | None) -> Array:
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


def _need_stories(stories: object) -> Sequence[str]:
    """The stories of an index: at least one. Each is checked when it is read."""
    found = sequence_of_texts(stories, "stories")
    if not len(found):
        raise ConfigError("an index needs at least one story")
    return found
