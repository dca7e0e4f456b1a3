"""Models that know no grammar, as a check of the pairs: length, unigrams and trigrams of the training stories.

A phenomenon where one of them scores above chance can be solved without what the phenomenon is about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from .grammar import tokens

OTHER, BORDER = 0, 1
CHUNK = 4_000
"""Stories counted at once."""


def length(text: str) -> float:
    """Score that prefers the shorter sentence."""
    return -float(len(text))


class NGrams:
    """Unigram and trigram model of stories, over the words of the pairs; every other word is one word.

    The trigram model is interpolated with Witten-Bell smoothing (Witten & Bell 1991).
    """

    def __init__(self, stories: Iterable[str], texts: Sequence[str]) -> None:
        words = sorted({word for text in texts for word in tokens(text)})
        self._number = {word: i for i, word in enumerate(words, 2)}
        self._size = len(words) + 2
        keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        source = iter(stories)
        while some := list(islice(source, CHUNK)):
            fresh, n = np.unique(self._keys(some), return_counts=True)
            keys, place = np.unique(np.concatenate([keys, fresh]), return_inverse=True)
            counts = np.bincount(place, np.concatenate([counts, n]), len(keys)).astype(np.int64)
        self._three = dict(zip(keys.tolist(), counts.tolist(), strict=True))
        self._known: dict[int, float] = {}

    def unigram(self, text: str) -> float:
        """Natural log-probability of the words, each by itself."""
        one, total = self._lower[0], self._total
        return math.fsum(math.log((one.get(word, 0) + 1) / (total + self._size)) for word in self._ids(text))

    def trigram(self, text: str) -> float:
        """Natural log-probability of the sentence as a whole story."""
        ids = [BORDER, BORDER, *self._ids(text), BORDER]
        return math.fsum(self._logprob(*three) for three in zip(ids, ids[1:], ids[2:], strict=False))

    def _ids(self, text: str) -> list[int]:
        return [self._number.get(word, OTHER) for word in tokens(text)]

    def _keys(self, stories: Sequence[str]) -> NDArray[np.int64]:
        """One number for each trigram; none reaches across stories."""
        ids = np.array([i for story in stories for i in (BORDER, BORDER, *self._ids(story), BORDER)], np.int64)
        keys: NDArray[np.int64] = (ids[:-2] * self._size + ids[1:-1]) * self._size + ids[2:]
        kept: NDArray[np.int64] = keys[~((ids[2:] == BORDER) & (ids[1:-1] == BORDER))]
        return kept

    @cached_property
    def _lower(self) -> tuple[dict[int, int], dict[int, int], dict[int, int], dict[int, int], dict[int, int], dict[int, int]]:
        """Counts of words and pairs; per context of one and of two words: how many tokens and how many different words follow."""
        one: dict[int, int] = {}
        two: dict[int, int] = {}
        after_two: dict[int, int] = {}
        kinds_two: dict[int, int] = {}
        for key, count in self._three.items():
            pair = key // self._size
            word = key % self._size
            after_two[pair] = after_two.get(pair, 0) + count
            kinds_two[pair] = kinds_two.get(pair, 0) + 1
            last = key % (self._size * self._size)
            two[last] = two.get(last, 0) + count
            one[word] = one.get(word, 0) + count
        kinds_one: dict[int, int] = {}
        for pair in two:
            kinds_one[pair // self._size] = kinds_one.get(pair // self._size, 0) + 1
        after_one: dict[int, int] = {}
        for pair, count in two.items():
            after_one[pair // self._size] = after_one.get(pair // self._size, 0) + count
        return one, two, after_one, kinds_one, after_two, kinds_two

    @cached_property
    def _total(self) -> int:
        return sum(self._three.values())

    def _logprob(self, a: int, b: int, c: int) -> float:
        key = (a * self._size + b) * self._size + c
        if key not in self._known:
            one, two, after_one, kinds_one, after_two, kinds_two = self._lower
            p = (one.get(c, 0) + 1) / (self._total + self._size)
            if n := after_one.get(b, 0):
                p = (two.get(b * self._size + c, 0) + kinds_one[b] * p) / (n + kinds_one[b])
            pair = a * self._size + b
            if n := after_two.get(pair, 0):
                p = (self._three.get(key, 0) + kinds_two[pair] * p) / (n + kinds_two[pair])
            self._known[key] = math.log(p)
        return self._known[key]
