"""TF-IDF cosine of texts and stories, equal to scikit-learn's `TfidfVectorizer` fitted on the stories."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from .. import fast
from ..texts import runs
from .build import Array, Arrays

Vector = dict[int, float]
"""Word id → weight; length 1."""
SPARE = 64
"""Candidates kept beyond k, which settles most near ties without a second scan."""


class CosineSearch:
    """Scans all stories in float32, then rescores everything within the rounding error of the k-th in float64."""

    def __init__(self, arrays: Arrays, words: dict[str, int], idf: Array) -> None:
        self.arrays, self.words, self.idf = arrays, words, idf
        self.stories = len(arrays.offsets) - 1

    def closest(self, texts: Sequence[str], k: int, left_out: Array) -> list[list[tuple[int, float]]]:
        """Per text (story, cosine) of the k best stories, best first, the lower number first among equals."""
        vectors = [self.vector(text) for text in texts]
        row, weights = self.weights(vectors)
        a, keep = self.arrays, min(k + SPARE, self.stories)
        scan = fast.load_kernels().scan_cosine
        parts = fast.in_threads(lambda i, j: scan(a.stream, a.offsets, a.norms, row, weights, left_out, i, j, keep), self.stories)
        score = np.concatenate([part[0] for part in parts], axis=1)
        index = np.concatenate([part[1] for part in parts], axis=1)
        order = np.argsort(-score, axis=1, kind="stable")[:, :keep]
        score, index = np.take_along_axis(score, order, axis=1), np.take_along_axis(index, order, axis=1)
        return [self._settle(vectors[q], score[q], index[q], k, int(left_out[q])) for q in range(len(texts))]

    def _settle(self, vector: Vector, score: Array, index: Array, k: int, left_out: int) -> list[tuple[int, float]]:
        """Rescore the candidates; scan again if more stories than were kept may belong to the k best."""
        there = index >= 0
        score, index = score[there], index[there]
        if not len(index):
            return []
        kth = float(score[min(k, len(score)) - 1])
        slack = kth * self._rounding
        if kth > 0 and len(score) < self.stories and score[-1] >= kth - slack:
            index = self._near(vector, kth - slack, left_out)
        else:
            index = index[score >= kth - slack]
        exact = [(-self._to_story(vector, int(i)), int(i)) for i in index]
        return [(i, -negative) for negative, i in sorted(exact)[:k]]

    def _near(self, vector: Vector, least: float, left_out: int) -> Array:
        """Every story whose float32 cosine is at least `least`."""
        row, weights = self.weights([vector])
        a, scan = self.arrays, fast.load_kernels().score_cosine
        parts = fast.in_threads(lambda i, j: scan(a.stream, a.offsets, a.norms, row, weights, i, j), self.stories)
        near: Array = np.flatnonzero(np.concatenate(parts) >= least)
        other: Array = near[near != left_out]
        return other

    @cached_property
    def _rounding(self) -> float:
        """Relative error of a float32 cosine, doubled: a sum of as many terms as the longest story has words."""
        return 2 * (int(np.diff(self.arrays.offsets).max()) + 10) * 2.0**-24

    def of_pair(self, first: str, second: str) -> float:
        """Cosine of two texts; 0 if one has no word that the stories have."""
        a, b = self.vector(first), self.vector(second)
        return min(1.0, sum(x * b[word] for word, x in a.items() if word in b))

    def vector(self, text: str) -> Vector:
        """The text's tf-idf vector; drops words that no story has."""
        counts = Counter(self.words[word] for word in runs(text) if word in self.words)
        raw = {word: n * float(self.idf[word]) for word, n in sorted(counts.items()) if self.idf[word] > 0}
        norm = float(np.sqrt(sum(x * x for x in raw.values())))
        return {word: x / norm for word, x in raw.items()}

    def _to_story(self, vector: Vector, story: int) -> float:
        """Cosine of a vector and a story in float64."""
        ids, counts = np.unique(self.arrays.story(story), return_counts=True)
        values = counts * self.idf[ids]
        norm = np.sqrt((values * values).sum())
        if not norm:
            return 0.0
        return float(min(1.0, (values * np.array([vector.get(i, 0.0) for i in ids.tolist()])).sum() / norm))

    def weights(self, vectors: Sequence[Vector]) -> tuple[Array, Array]:
        """The vectors as the kernels take them: row int32 [vocabulary], weights float32 [rows, queries]."""
        used = sorted({word for vector in vectors for word in vector})
        row = np.full(max(1, len(self.words)), -1, np.int32)
        row[used] = np.arange(len(used))
        weights = np.zeros((len(used), len(vectors)), np.float32)
        for q, vector in enumerate(vectors):
            for word, x in vector.items():
                weights[row[word], q] = x * self.idf[word]
        return row, weights
