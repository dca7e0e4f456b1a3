"""Lengths of texts in words, and how far two distributions of them are apart."""

from collections.abc import Sequence

from ..checks import need_texts
from ..texts import words_of
from .base import StoryMetric, described


def lengths(texts: Sequence[str]) -> list[int]:
    """Words of each text."""
    return [len(words_of(text)) for text in need_texts(texts, "texts")]


def length_distance(texts: Sequence[str], real: Sequence[str]) -> float | None:
    """The two-sample Kolmogorov-Smirnov statistic of the lengths; None if one side is empty."""
    from scipy.stats import ks_2samp

    a, b = lengths(texts), lengths(real)
    return float(ks_2samp(a, b).statistic) if a and b else None


REPORTED = {
    "words": StoryMetric(described("words"), lambda stories: lengths(stories.texts)),
    "length_distance": StoryMetric(
        described("length_distance"), lambda stories: length_distance(stories.texts, stories.real), of_models=True
    ),
}
