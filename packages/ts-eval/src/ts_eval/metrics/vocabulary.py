"""Vocabulary use: how many different words an equal amount of text has."""

from collections.abc import Sequence

from ..checks import need_count, need_texts
from ..texts import first_words
from .base import StoryMetric, described
from .distinct import WORDS


def vocabulary(texts: Sequence[str], words: int = WORDS) -> int | None:
    """Different words among the first `words` words: a fixed amount, since a longer text has more. None without a word."""
    lines = first_words(need_texts(texts, "texts"), need_count(words, "words"))
    return len({word for line in lines for word in line}) or None


REPORTED = {"vocabulary": StoryMetric(described("vocabulary"), lambda stories: vocabulary(stories.texts))}
