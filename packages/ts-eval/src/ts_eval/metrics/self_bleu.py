"""Self-BLEU: how well each text is predicted by the others (Zhu et al. 2018); 1 - self-BLEU is a diversity."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from ..checks import need_texts
from ..texts import words_of
from .base import StoryMetric, described

ORDERS = (1, 2, 3, 4)
FLOOR = 0.1
"""Matches of an order that has none: nltk's smoothing method 1."""

Gram = tuple[str, ...]


def self_bleu(texts: Sequence[str]) -> list[float | None]:
    """BLEU-4 of each text with all others as references; None for a text of fewer than four words or with no other.

    As nltk's `sentence_bleu` with smoothing method 1, in one pass: per n-gram the two largest counts are kept.
    """
    words = [words_of(text) for text in need_texts(texts, "texts")]
    counts = [[Counter(zip(*(line[i:] for i in range(n)), strict=False)) for n in ORDERS] for line in words]
    largest = [_two_largest([story[n - 1] for story in counts]) for n in ORDERS]
    lengths = sorted(len(line) for line in words)
    return [
        _bleu(q, counts[q], largest, len(line), lengths) if len(line) >= 4 and len(words) > 1 else None
        for q, line in enumerate(words)
    ]


def _two_largest(counts: Sequence[Counter[Gram]]) -> dict[Gram, tuple[int, int, int]]:
    """n-gram → (whose count is largest, that count, the largest of the others)."""
    top: dict[Gram, tuple[int, int, int]] = {}
    for q, story in enumerate(counts):
        for gram, n in story.items():
            who, first, second = top.get(gram, (-1, 0, 0))
            top[gram] = (q, n, first) if n > first else (who, first, max(second, n))
    return top


def _bleu(
    q: int, counts: Sequence[Counter[Gram]], largest: Sequence[dict[Gram, tuple[int, int, int]]], length: int, lengths: list[int]
) -> float:
    logs = 0.0
    for n, (grams, top) in enumerate(zip(counts, largest, strict=True), 1):
        matched = 0
        for gram, count in grams.items():
            who, first, second = top[gram]
            matched += min(count, second if who == q else first)
        if n == 1 and not matched:
            return 0.0
        logs += math.log((matched or FLOOR) / sum(grams.values()))
    nearest = _nearest(length, lengths)
    return (1.0 if length > nearest else math.exp(1 - nearest / length)) * math.exp(logs / len(ORDERS))


def _nearest(length: int, lengths: list[int]) -> int:
    """The length nearest to this one among the others, the shorter one of two."""
    at = bisect_left(lengths, length)
    others = [*lengths[max(0, at - 1) : at], *lengths[at + 1 : at + 2]]
    return min(others, key=lambda other: (abs(other - length), other))


REPORTED = {"self_bleu": StoryMetric(described("self_bleu"), lambda stories: self_bleu(stories.texts))}
