"""Near-duplicates: MinHash finds candidates, the true Jaccard similarity of the word n-grams decides.

Two stories that share one band of MinHash values are a candidate pair (Broder 1997; LSH banding as in Leskovec et al., Mining of Massive
Datasets, ch. 3). What is removed is not closed transitively: a story is compared with stories that stay, so a chain of small changes
does not remove a whole cluster. Clusters that stay are closed, so that no two near-duplicates are in different splits.

Everything is computed from bytes of many stories at once. A word's hash is a polynomial of its bytes modulo 2^64, from cumulative sums;
an n-gram's hash combines those of its words. MinHash value i of a story is the minimum over its n-grams of `a + i * b`, with `a` and `b`
the halves of the n-gram's hash (double hashing, Kirsch & Mitzenmacher 2006): one addition per value and n-gram.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from ..arrow import blanks
from ..schemas import NearConfig

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_BASE = 0x5851F42D4C957F2D
"""Base of the polynomial: odd, so that it has an inverse modulo 2^64."""

_SHIFT = np.uint64(29)
_HALF = np.uint64(32)
_PIECE = 256
"""Stories hashed at once, so that the arrays (about 2 MB each) stay in the caches."""

_ROWS = 4_096
"""Stories compared at once."""


@cache
def _powers(length: int) -> tuple[np.ndarray, np.ndarray]:
    """The powers of the base and of its inverse, `[length]` each."""
    tables = []
    for base in (_BASE, pow(_BASE, -1, 1 << 64)):
        factors = np.full(length, base, np.uint64)
        factors[0] = 1
        tables.append(np.multiply.accumulate(factors))
    return tables[0], tables[1]


def _mixed(values: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that spreads every bit."""
    values = (values ^ (values >> _SHIFT)) * _PRIME
    values ^= values >> _HALF
    return values


def _bytes(text: str) -> bytes:
    """A text in lower case, as UTF-8, with ASCII blanks between words only."""
    return text.encode().lower() if text.isascii() else " ".join(text.lower().split()).encode()


def gram_hashes(texts: Sequence[str], ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """(a hash per word n-gram of all texts in order, the first of each text and the number of all).

    Words are those of `text.lower().split()`. A text of fewer words than `ngram` has one n-gram.
    """
    encoded = [_bytes(text) for text in texts]
    content = np.frombuffer(b" ".join([*encoded, b""]), np.uint8)
    edges = np.flatnonzero(np.diff(blanks(content), prepend=True))  # starts and ends of words in turns
    starts, ends = edges[::2], edges[1::2]
    powers, inverses = _powers(1 << max(18, len(content).bit_length()))
    sums = np.zeros(len(content) + 1, np.uint64)
    np.cumsum(content * powers[: len(content)], out=sums[1:])
    words = _mixed((sums[ends] - sums[starts]) * inverses[starts] + (ends - starts).astype(np.uint64))
    bounds = np.searchsorted(starts, np.cumsum([0, *(len(text) + 1 for text in encoded)]))
    return _combined(words, bounds, ngram)


def _combined(words: np.ndarray, bounds: np.ndarray, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of n-grams from those of words; `bounds`: the first word of each text and the number of all."""
    counts = np.diff(bounds)
    if (counts < ngram).any():
        padded = np.maximum(counts, ngram)
        places = np.arange(len(words)) + np.repeat(np.cumsum(padded) - padded - bounds[:-1], counts)
        words, given, counts = np.zeros(padded.sum(), np.uint64), words, padded
        words[places] = given
    total = len(words) - ngram + 1
    hashes = words[:total].copy()
    for place in range(1, ngram):
        hashes *= _PRIME
        hashes += words[place : total + place]
    inside = np.ones(total, bool)
    ends = np.cumsum(counts)[:-1]
    for back in range(1, ngram):  # n-grams that would reach into the next text
        inside[ends - back] = False
    return _mixed(hashes[inside]), np.concatenate([[0], np.cumsum(counts - ngram + 1)])


def _sets(texts: Sequence[str], near: NearConfig) -> Iterator[np.ndarray]:
    """The set of n-grams of each text as sorted hashes."""
    for first in range(0, len(texts), _PIECE):
        hashes, bounds = gram_hashes(texts[first : first + _PIECE], near.ngram)
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            yield np.unique(hashes[start:end])


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """|a and b| / |a or b| of two sets of hashes, from 0 to 1."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


def band_keys(texts: Sequence[str], near: NearConfig) -> np.ndarray:
    """Band keys `[texts, bands]`, uint64: equal keys in one band make two texts candidates."""
    keys = np.zeros((len(texts), near.bands), np.uint64)
    for first in range(0, len(texts), _PIECE):
        piece = texts[first : first + _PIECE]
        keys[first : first + _PIECE] = _keys(*gram_hashes(piece, near.ngram), near)
    return keys


def _keys(hashes: np.ndarray, bounds: np.ndarray, near: NearConfig) -> np.ndarray:
    values, steps = (hashes >> _HALF).astype(np.uint32), hashes.astype(np.uint32) | np.uint32(1)
    starts = bounds[:-1]
    keys = np.zeros((near.bands, len(starts)), np.uint64)
    for band in range(near.bands):
        for _ in range(near.rows):
            values += steps
            keys[band] = (keys[band] ^ np.minimum.reduceat(values, starts)) * _PRIME
        keys[band] ^= np.uint64(band)  # so that the bands share one table
    return _mixed(keys).T


def _shared(bands: np.ndarray) -> np.ndarray:
    """Whether each key of `[rows, bands]` is in its band more than once."""
    shared = np.zeros(bands.shape, bool)
    for band in range(bands.shape[1]):
        order = np.argsort(bands[:, band])
        ranked = bands[order, band]
        equal = ranked[1:] == ranked[:-1]
        shared[order[1:][equal], band] = True
        shared[order[:-1][equal], band] = True
    return shared


def candidates(bands: np.ndarray) -> np.ndarray:
    """Rows of `[rows, bands]` that share a key with another row in some band."""
    return np.flatnonzero(_shared(bands).any(axis=1))


def _keyed_sets(
    rows: np.ndarray, bands: np.ndarray, texts_of: Callable[[np.ndarray], Sequence[str]], near: NearConfig
) -> Iterator[tuple[int, list[int], np.ndarray]]:
    """(row, its keys that another row shares, its n-grams) of each of `rows` (ascending; `bands[i]` belongs to `rows[i]`)."""
    shared = _shared(bands)
    for first in range(0, len(rows), _ROWS):
        piece = slice(first, first + _ROWS)
        texts = texts_of(rows[piece])
        for row, keys, mask, mine in zip(rows[piece].tolist(), bands[piece], shared[piece], _sets(texts, near), strict=True):
            yield row, keys[mask].tolist(), mine


def greedy(
    rows: np.ndarray, bands: np.ndarray, texts_of: Callable[[np.ndarray], Sequence[str]], near: NearConfig
) -> dict[int, tuple[int, float]]:
    """Near-duplicates among `rows` (as `_keyed_sets` takes them): row → (the kept row most like it, similarity).

    Holds the n-grams of kept rows that share a key with another row, about 2 kB each.
    """
    kept: defaultdict[int, list[int]] = defaultdict(list)
    sets: dict[int, np.ndarray] = {}
    found: dict[int, tuple[int, float]] = {}
    for row, keys, mine in _keyed_sets(rows, bands, texts_of, near):
        others = {other for key in keys for other in kept.get(key, ())}
        best = max(((jaccard(mine, sets[other]), -other) for other in others), default=(0.0, 0))
        if best[0] >= near.threshold:
            found[row] = (-best[1], best[0])
            continue
        sets[row] = mine
        for key in keys:
            kept[key].append(row)
    return found


def clusters(
    rows: np.ndarray, bands: np.ndarray, texts_of: Callable[[np.ndarray], Sequence[str]], near: NearConfig
) -> dict[int, int]:
    """Clusters among `rows` (as `_keyed_sets` takes them): row → the first row of its cluster, for each row but that one.

    Near-duplicates are in one cluster, and so are the ends of a chain of them. Holds the n-grams of all rows.
    """
    seen: defaultdict[int, dict[int, list[int]]] = defaultdict(dict)  # key → first row of a cluster → rows of it, skipped at once
    sets: dict[int, np.ndarray] = {}
    above: dict[int, int] = {}  # an earlier row of the same cluster

    def first_of(row: int) -> int:
        while row in above:
            above[row] = above.get(above[row], above[row])
            row = above[row]
        return row

    for row, keys, mine in _keyed_sets(rows, bands, texts_of, near):
        tried: set[int] = set()
        for first, others in (group for key in keys for group in seen[key].items()):
            pair = first_of(first), first_of(row)
            if pair[0] != pair[1]:
                new = [other for other in others if other not in tried]
                tried.update(new)
                if any(jaccard(mine, sets[other]) >= near.threshold for other in new):
                    above[max(pair)] = min(pair)
        sets[row] = mine
        for key in keys:
            seen[key].setdefault(first_of(row), []).append(row)
    return {row: first_of(row) for row in list(above)}


class ReferenceSet:
    """Stories against which batches of others are matched. Memory is that of their n-grams, about 5 kB a story."""

    def __init__(self, texts: Sequence[str], near: NearConfig) -> None:
        self.near = near
        self._sets = list(_sets(texts, near))
        bands = band_keys(texts, near)
        self._keys = np.unique(bands)
        self._rows: defaultdict[int, list[int]] = defaultdict(list)
        for row, keys in enumerate(bands.tolist()):
            for key in keys:
                self._rows[key].append(row)

    def match(self, texts: Sequence[str]) -> list[tuple[int, int, float]]:
        """(index in `texts`, row of the reference, similarity) of every pair at or above the threshold."""
        bands = band_keys(texts, self.near)
        hits = np.flatnonzero(np.isin(bands, self._keys).any(axis=1)).tolist()
        found = []
        for index, mine in zip(hits, _sets([texts[index] for index in hits], self.near), strict=True):
            for row in sorted({row for key in bands[index].tolist() for row in self._rows.get(key, ())}):
                similarity = jaccard(mine, self._sets[row])
                if similarity >= self.near.threshold:
                    found.append((index, row, similarity))
        return found
