"""Vocabulary use: how many different words a set of texts has, per thousand words."""

from collections.abc import Sequence

from ..checks import need_count, need_texts
from ..texts import words_of
from .base import StoryMetric, described


def vocabulary(texts: Sequence[str], words: int = 5000) -> int | None:
    """Different words among the first `words` words: a fixed amount, since a longer text has more. None without a word."""
    seen: set[str] = set()
    left = need_count(words, "words")
    for text in need_texts(texts, "texts"):
        line = words_of(text)[:left]
        seen.update(line)
        left -= len(line)
    return len(seen) or None


REPORTED = {"vocabulary": StoryMetric(described("vocabulary"), lambda stories: vocabulary(stories.texts))}
