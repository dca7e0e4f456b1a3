"""Lengths of texts in words, and how far two distributions of them are apart."""

from collections.abc import Sequence

from ..checks import need_texts
from ..schemas import MetricInfo
from ..texts import words_of
from .base import StoryMetric


def lengths(texts: Sequence[str]) -> list[int]:
    """Words of each text."""
    return [len(words_of(text)) for text in need_texts(texts, "texts")]


def length_distance(texts: Sequence[str], real: Sequence[str]) -> float | None:
    """The two-sample Kolmogorov-Smirnov statistic of the lengths; None if one side is empty."""
    from scipy.stats import ks_2samp

    a, b = lengths(texts), lengths(real)
    return float(ks_2samp(a, b).statistic) if a and b else None


REPORTED = {
    "words": StoryMetric(
        MetricInfo(
            title="Length", unit="words", better="like real", description="Words per story.", summary="texts", label="Words"
        ),
        lambda stories: lengths(stories.texts),
    ),
    "length_distance": StoryMetric(
        MetricInfo(
            title="Length distance",
            better="lower",
            description="Largest gap between the cumulative length distributions of these and of real stories "
            "(Kolmogorov-Smirnov), 0 to 1.",
        ),
        lambda stories: length_distance(stories.texts, stories.real),
        of_models=True,
    ),
}
