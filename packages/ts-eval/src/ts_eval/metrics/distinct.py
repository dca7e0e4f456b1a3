"""Distinct-n: different n-grams per n-gram over a set of texts (Li et al. 2016). Falls with the amount of text."""

from collections.abc import Callable, Sequence

from ..checks import need_count, need_texts
from ..schemas import MetricInfo
from ..texts import words_of
from .base import StoryMetric, StorySet


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


def _of_set(n: int) -> Callable[[StorySet], float | None]:
    return lambda stories: distinct(stories.texts, n)


REPORTED = {
    f"distinct{n}": StoryMetric(
        MetricInfo(
            title=f"Distinct-{n}",
            better="like real",
            description=f"Different {n}-grams per {n}-gram over all stories; compare only equal amounts of text.",
        ),
        _of_set(n),
    )
    for n in (1, 2, 3)
}
