"""Distinct-n: different n-grams per n-gram over a set of texts (Li et al. 2016). Falls with the amount of text."""

from collections.abc import Sequence
from functools import partial

from ..checks import need_count, need_texts
from ..texts import words_of
from .base import StoryMetric, StorySet, described


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Share of the n-grams that are different ones; None where there is none."""
    n = need_count(n, "n")
    total, seen = 0, set()
    for text in need_texts(texts, "texts"):
        words = words_of(text)
        grams = list(zip(*(words[i:] for i in range(n)), strict=False))
        total += len(grams)
        seen.update(grams)
    return len(seen) / total if total else None


def _of_set(n: int, stories: StorySet) -> float | None:
    return distinct(stories.texts, n)


REPORTED = {f"distinct{n}": StoryMetric(described(f"distinct{n}"), partial(_of_set, n)) for n in (1, 2, 3)}
