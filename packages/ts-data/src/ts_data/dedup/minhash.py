"""Near-duplicates: MinHash finds candidates, the true Jaccard similarity of the word n-grams decides.

Two stories sharing one band of MinHash values are a candidate pair (Broder 1997; LSH banding as in Leskovec et al.,
Mining of Massive Datasets, ch. 3). The relation is not closed transitively: a story is compared with stories that stay, so a
chain of small changes does not remove a whole cluster.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from ..schemas import NearConfig

__all__ = ["MinHasher", "ReferenceSet", "candidates", "grams", "greedy", "jaccard"]

_PRIME = np.uint64(0x9E3779B97F4A7C15)


def grams(text: str, ngram: int) -> frozenset[tuple[str, ...]]:
    """The set of word n-grams; a text of fewer words is one gram."""
    words = text.lower().split()
    return frozenset(zip(*(words[i:] for i in range(ngram)), strict=False)) or frozenset([tuple(words)])


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    """|a and b| / |a or b|, from 0 to 1."""
    both = len(a & b)
    return both / (len(a) + len(b) - both)


class MinHasher:
    """Makes band keys of texts: equal keys in one band make two texts candidates."""

    def __init__(self, near: NearConfig) -> None:
        self.near = near
        self._words: dict[str, int] = {}
        dice = np.random.Generator(np.random.PCG64(20231123))
        shape = near.bands * near.rows
        self._factors = dice.integers(1, 2**63, shape, dtype=np.uint64) | np.uint64(1)
        self._offsets = dice.integers(0, 2**63, shape, dtype=np.uint64)

    def bands(self, texts: Sequence[str]) -> np.ndarray:
        """Band keys `[texts, bands]`, uint64."""
        if not texts:
            return np.zeros((0, self.near.bands), np.uint64)
        hashes, starts = self._gram_hashes(texts)
        keys = np.zeros((len(texts), self.near.bands), np.uint64)
        with np.errstate(over="ignore"):
            for i, (factor, offset) in enumerate(zip(self._factors, self._offsets, strict=True)):
                mixed = hashes * factor + offset
                least = np.minimum.reduceat(mixed ^ (mixed >> np.uint64(29)), starts)
                band = i // self.near.rows
                keys[:, band] = (keys[:, band] ^ least) * _PRIME
        return keys

    def _gram_hashes(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """A hash per n-gram of all texts, and where each text's begin (each has at least one)."""
        known = self._words
        rows: list[np.ndarray] = []
        for text in texts:
            words = text.lower().split() or [""]
            numbers = [known.get(word) or self._number(word) for word in words]
            rows.append(np.array(numbers + [0] * (self.near.ngram - len(numbers)), np.uint64))
        if len(known) > 1_000_000:
            known.clear()
        flat = np.concatenate(rows)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        size = self.near.ngram
        with np.errstate(over="ignore"):
            hashes = np.zeros(len(flat) - size + 1, np.uint64)
            for i in range(size):
                hashes = hashes * _PRIME + flat[i : len(flat) - size + 1 + i]
        valid = np.ones(len(hashes), bool)
        for back in range(1, size):  # grams that would reach into the next text
            ends = firsts[1:] - back
            valid[ends] = False
        starts = np.concatenate([[0], np.cumsum(lengths - size + 1)[:-1]])
        return hashes[valid], starts

    def _number(self, word: str) -> int:
        number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little") | 1
        self._words[word] = number
        return number


def candidates(bands: np.ndarray) -> np.ndarray:
    """Rows of `[rows, bands]` that share a key with another row in some band."""
    shared = np.zeros(len(bands), bool)
    for band in range(bands.shape[1]):
        _, inverse, counts = np.unique(bands[:, band], return_inverse=True, return_counts=True)
        shared |= counts[inverse] > 1
    return np.flatnonzero(shared)


def greedy(
    rows: Sequence[int], bands: np.ndarray, text_of: Callable[[int], str], near: NearConfig
) -> dict[int, tuple[int, float]]:
    """Near-duplicates among `rows` (ascending; `bands[i]` belongs to `rows[i]`): row → (the kept row most like it, similarity)."""
    kept: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in range(bands.shape[1])]
    sets: dict[int, frozenset[tuple[str, ...]]] = {}
    twins: dict[int, tuple[int, float]] = {}
    for row, keys in zip(rows, bands.tolist(), strict=True):
        mine = grams(text_of(row), near.ngram)
        others = sorted({other for band, key in zip(kept, keys, strict=True) for other in band.get(key, ())})
        best = max(((jaccard(mine, sets[other]), -other) for other in others), default=(0.0, 0))
        if best[0] >= near.threshold:
            twins[row] = (-best[1], best[0])
            continue
        sets[row] = mine
        for band, key in zip(kept, keys, strict=True):
            band[key].append(row)
    return twins


class ReferenceSet:
    """ReferenceSet-out stories, against which batches of others are matched; memory is that of the held-out stories."""

    def __init__(self, texts: Sequence[str], near: NearConfig, hasher: MinHasher | None = None) -> None:
        self.near = near
        self.hasher = hasher or MinHasher(near)
        self._sets = [grams(text, near.ngram) for text in texts]
        bands = self.hasher.bands(texts)
        self._keys = [np.unique(bands[:, band]) for band in range(near.bands)]
        self._rows: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in range(near.bands)]
        for row, keys in enumerate(bands.tolist()):
            for band, key in zip(self._rows, keys, strict=True):
                band[key].append(row)

    def match(self, texts: Sequence[str]) -> list[tuple[int, int, float]]:
        """(index in `texts`, held-out row, similarity) of every pair at or above the threshold."""
        bands = self.hasher.bands(texts)
        hit = np.zeros(len(texts), bool)
        for band, keys in enumerate(self._keys):
            hit |= np.isin(bands[:, band], keys)
        found = []
        for index in np.flatnonzero(hit).tolist():
            mine = grams(texts[index], self.near.ngram)
            others = {row for rows, key in zip(self._rows, bands[index].tolist(), strict=True) for row in rows.get(key, ())}
            for row in sorted(others):
                similarity = jaccard(mine, self._sets[row])
                if similarity >= self.near.threshold:
                    found.append((index, row, similarity))
        return found
