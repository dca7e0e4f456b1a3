"""Distinct-n: different n-grams per n-gram over a set of texts (Li et al. 2016). Falls with the amount of text, which the report equalises."""

from collections.abc import Iterable, Sequence
from functools import partial

from ..checks import need_count, need_texts
from ..texts import first_words, words_of
from .base import StoryMetric, StorySet, described

WORDS = 5000
"""Words of each set of stories that the report compares."""


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Share of the n-grams that are different ones; None where there is none."""
    return _distinct(map(words_of, need_texts(texts, "texts")), need_count(n, "n"))


def _distinct(lines: Iterable[Sequence[str]], n: int) -> float | None:
    total, seen = 0, set()
    for words in lines:
        grams = list(zip(*(words[i:] for i in range(n)), strict=False))
        total += len(grams)
        seen.update(grams)
    return len(seen) / total if total else None


def _of_set(n: int, stories: StorySet) -> float | None:
    return _distinct(first_words(stories.texts, WORDS), n)


REPORTED = {f"distinct{n}": StoryMetric(described(f"distinct{n}"), partial(_of_set, n)) for n in (1, 2, 3)}
