"""N-gram models of token ids, the baselines of perplexity: unigram, bigram add-one, bigram Kneser-Ney.

They score whole stories, `<bos> … <eos>`: every token but the first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import need_count
from .errors import ConfigError
from .texts import runs

Array = NDArray[Any]
METHODS = ("unigram", "bigram add-one", "bigram Kneser-Ney")
CHUNK = 4_000_000
"""Bigrams counted at once: bounds the memory."""


class WordBigrams:
    """A Kneser-Ney bigram model of the words of some stories; rare words are one word."""

    def __init__(self, stories: Iterable[str], words: int = 10_000) -> None:
        lines = [runs(text) for text in stories]
        counts = Counter(word for line in lines for word in line)
        kept = sorted(counts, key=lambda word: (-counts[word], word))[:words]
        self.number = {word: i + 2 for i, word in enumerate(kept)}
        self.model = BigramModel(map(self._ids, lines), len(kept) + 2)

    def _ids(self, words: Sequence[str]) -> Array:
        return np.array([0, *(self.number.get(word, 1) for word in words), 0], np.int64)

    def bits(self, text: str) -> float | None:
        """Bits per word of a text; None for fewer than two words."""
        ids = self._ids(runs(text))
        return None if len(ids) < 4 else float(-self.model.logprobs([ids], "bigram Kneser-Ney")[0].mean() / math.log(2))


class BigramModel:
    """Bigram counts of a training split, and three models on them.

    Kneser-Ney is interpolated (Kneser & Ney 1995, Chen & Goodman 1999), with one discount n1 / (n1 + 2 n2) from the counts;
    the mass that the continuation counts lose is spread evenly over all words, so that no token has probability 0.
    """

    def __init__(self, stories: Iterable[Array], vocab_size: int) -> None:
        self.vocab_size = vocab_size = need_count(vocab_size, "vocab_size")
        self.unigrams = np.zeros(vocab_size, np.int64)
        self.keys, self.counts = self._count(stories)
        first, second = self.keys // vocab_size, self.keys % vocab_size
        self.context = np.bincount(first, self.counts, vocab_size)
        self._followers = np.bincount(first, minlength=vocab_size)
        self._preceders = np.bincount(second, minlength=vocab_size)
        once, twice = int((self.counts == 1).sum()), int((self.counts == 2).sum())
        self.discount = once / (once + 2 * twice) if once else 0.5

    def _count(self, stories: Iterable[Array]) -> tuple[Array, Array]:
        keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        held: list[Array] = []
        size = 0
        for story in stories:
            ids = self._ids(story)
            held.append(ids)
            size += len(ids)
            if size >= CHUNK:
                keys, counts = self._merge(keys, counts, held)
                held, size = [], 0
        return self._merge(keys, counts, held)

    def _merge(self, keys: Array, counts: Array, held: list[Array]) -> tuple[Array, Array]:
        if not held:
            return keys, counts
        new = np.concatenate([ids[:-1] * self.vocab_size + ids[1:] for ids in held])
        fresh, n = np.unique(new, return_counts=True)
        self.unigrams += np.bincount(fresh % self.vocab_size, n, self.vocab_size).astype(np.int64)
        both, place = np.unique(np.concatenate([keys, fresh]), return_inverse=True)
        return both, np.bincount(place, np.concatenate([counts, n]), len(both)).astype(np.int64)

    def logprobs(self, stories: Sequence[Array], method: str) -> list[Array]:
        """Natural log-probability of each token but the first, story by story; `method` is one of METHODS."""
        if method not in METHODS:
            raise ConfigError(f"no n-gram model {method!r}; there are {', '.join(METHODS)}")
        chosen = {"unigram": self._unigram, "bigram add-one": self._add_one, "bigram Kneser-Ney": self._kneser_ney}[method]
        return [np.log(chosen(ids[:-1], ids[1:])) for ids in map(self._ids, stories)]

    def _ids(self, story: Any) -> Array:
        """The ids of one story. TypeError for values that are not ids, ConfigError for ids outside the vocabulary."""
        ids = np.asarray(story)
        if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
            raise TypeError("stories: a list with one array of token ids per story is expected; encode texts first.")
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocab_size:
            wrong = next(int(i) for i in ids if not 0 <= i < self.vocab_size)
            raise ConfigError(f"token id {wrong} is outside of the vocabulary of {self.vocab_size} tokens.")
        return ids.astype(np.int64)

    def _unigram(self, _before: Array, word: Array) -> Array:
        p: Array = (self.unigrams[word] + 1) / (self.unigrams.sum() + self.vocab_size)
        return p

    def _seen(self, before: Array, word: Array) -> Array:
        key = before * self.vocab_size + word
        place = np.minimum(np.searchsorted(self.keys, key), max(len(self.keys) - 1, 0))
        return np.where(self.keys[place] == key, self.counts[place], 0) if len(self.keys) else np.zeros(len(key), np.int64)

    def _add_one(self, before: Array, word: Array) -> Array:
        p: Array = (self._seen(before, word) + 1) / (self.context[before] + self.vocab_size)
        return p

    def _kneser_ney(self, before: Array, word: Array) -> Array:
        types, d = max(len(self.keys), 1), self.discount
        spread = d * (self._preceders > 0).sum() / types if len(self.keys) else 1.0
        continuation = np.maximum(self._preceders[word] - d, 0) / types + spread / self.vocab_size
        total = np.maximum(self.context[before], 1)
        back_off = np.where(self.context[before] > 0, d * self._followers[before] / total, 1.0)
        p: Array = np.maximum(self._seen(before, word) - d, 0) / total + back_off * continuation
        return p
