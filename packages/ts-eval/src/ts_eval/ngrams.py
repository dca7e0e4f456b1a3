"""N-gram models: of token ids, the baselines of perplexity (unigram, bigram add-one, bigram Kneser-Ney), and trigrams of words.

The baselines score whole stories, `<bos> … <eos>`: every token but the first.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
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
        self.keys, self.counts = self._count(stories)
        first, second = self.keys // vocab_size, self.keys % vocab_size
        self.unigrams = np.bincount(second, self.counts, vocab_size).astype(np.int64)
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
            held.append(ids[:-1] * self.vocab_size + ids[1:])
            size += len(ids)
            if size >= CHUNK:
                keys, counts = _added(keys, counts, held)
                held, size = [], 0
        return _added(keys, counts, held)

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


BORDER, OTHER = 0, 1
"""Numbers of the border of a story and of all words that a model does not know."""


class Trigrams:
    """A trigram model of some words with Witten-Bell smoothing (Witten & Bell 1991). Stories are lists of words; others are one word."""

    def __init__(self, stories: Iterable[Sequence[str]], words: Iterable[str]) -> None:
        self.number = {word: i for i, word in enumerate(words, 2)}
        self.size = size = len(self.number) + 2
        keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        source = iter(stories)
        while some := list(islice(source, 4_000)):
            keys, counts = _added(keys, counts, [self._keys(some)])
        self._three = _table(keys, counts)
        self._known: dict[int, float] = {}
        pairs, pair_counts = _summed(keys % size**2, counts)
        self._two = _table(pairs, pair_counts)
        self.one = _table(keys % size, counts)
        self.total = int(counts.sum())
        self._after_one, self._kinds_one = (
            _table(pairs // size, pair_counts),
            _table(pairs // size, np.ones(len(pairs), np.int64)),
        )
        self._after_two, self._kinds_two = _table(keys // size, counts), _table(keys // size, np.ones(len(keys), np.int64))

    def ids(self, words: Iterable[str]) -> list[int]:
        """The words' numbers."""
        return [self.number.get(word, OTHER) for word in words]

    def logprobs(self, words: Sequence[str]) -> list[float]:
        """Natural log-probability of each word of a whole story, and of its end."""
        ids = [BORDER, BORDER, *self.ids(words), BORDER]
        return [self._logprob(*three) for three in zip(ids, ids[1:], ids[2:], strict=False)]

    def share(self, word: int) -> float:
        """The probability of a word by itself: add-one."""
        return (self.one.get(word, 0) + 1) / (self.total + self.size)

    def _keys(self, stories: Sequence[Sequence[str]]) -> Array:
        """One number for each trigram; none reaches across stories."""
        ids = np.array([i for story in stories for i in (BORDER, BORDER, *self.ids(story), BORDER)], np.int64)
        keys: Array = (ids[:-2] * self.size + ids[1:-1]) * self.size + ids[2:]
        kept: Array = keys[(ids[2:] != BORDER) | (ids[1:-1] != BORDER)]
        return kept

    def _logprob(self, a: int, b: int, c: int) -> float:
        pair = a * self.size + b
        key = pair * self.size + c
        if key not in self._known:
            p = self.share(c)
            if n := self._after_one.get(b, 0):
                p = (self._two.get(b * self.size + c, 0) + self._kinds_one[b] * p) / (n + self._kinds_one[b])
            if n := self._after_two.get(pair, 0):
                p = (self._three.get(key, 0) + self._kinds_two[pair] * p) / (n + self._kinds_two[pair])
            self._known[key] = math.log(p)
        return self._known[key]


def _added(keys: Array, counts: Array, more: Sequence[Array]) -> tuple[Array, Array]:
    """Different keys, ascending, and their counts, after those of `more`."""
    fresh, n = np.unique(np.concatenate([np.zeros(0, np.int64), *more]), return_counts=True)
    return _summed(np.concatenate([keys, fresh]), np.concatenate([counts, n]))


def _summed(keys: Array, counts: Array) -> tuple[Array, Array]:
    """Different keys, ascending, and the sum of the counts of each."""
    different, place = np.unique(keys, return_inverse=True)
    return different, np.bincount(place, counts, len(different)).astype(np.int64)


def _table(keys: Array, counts: Array) -> dict[int, int]:
    different, sums = _summed(keys, counts)
    return dict(zip(different.tolist(), sums.tolist(), strict=True))
