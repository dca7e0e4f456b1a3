"""Repetition: how much of a text's word 4-grams it has said before (1 - distinct-4 of one text)."""

from ..checks import need_count, need_text
from ..texts import words_of
from .base import StoryMetric, described


def repetition(text: str, n: int = 4) -> float | None:
    """Share of the n-grams that repeat an earlier one; None for a text of fewer than n words."""
    n = need_count(n, "n")
    words = words_of(need_text(text, "text"))
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else None


REPORTED = {"repetition": StoryMetric(described("repetition"), lambda stories: [repetition(text) for text in stories.texts])}
