"""Misspellings: words that the training stories do not have, one letter away from a word that they do."""

from collections.abc import Container
from string import ascii_lowercase

from ..checks import need_text
from ..texts import words_of
from .base import StoryMetric, StorySet, described

KNOWN = 2
"""Training stories that a word must stand in to count as known: a misspelling may stand in one."""


def misspellings(text: str, known: Container[str]) -> list[str]:
    """The text's words that are not known while a word at one edit (letter lost, added, changed, two swapped) is.

    Words of fewer than four letters, with an apostrophe, or with a letter beyond a-z are left alone: names and
    sounds are made of those.
    """
    if isinstance(known, (str, bytes)) or not isinstance(known, Container):
        raise TypeError(f"known: a set of words is expected, not one {type(known).__name__}.")
    return [
        w
        for w in words_of(need_text(text, "text"))
        if len(w) > 3 and w.isascii() and w.isalpha() and w not in known and any(edited in known for edited in _edits(w))
    ]


def _edits(word: str) -> set[str]:
    halves = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    lost = {a + b[1:] for a, b in halves if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in halves if len(b) > 1}
    changed = {a + c + b[1:] for a, b in halves if b for c in ascii_lowercase}
    added = {a + c + b for a, b in halves for c in ascii_lowercase}
    return lost | swapped | changed | added


def _per_1000_words(stories: StorySet) -> list[float | None]:
    arrays = stories.index.arrays
    known = {word for word, df in zip(arrays.words, arrays.df.tolist(), strict=True) if df >= KNOWN}
    wrong = [len(misspellings(text, known)) for text in stories.texts]
    return [1000 * w / n if n else None for w, n in zip(wrong, map(len, map(words_of, stories.texts)), strict=True)]


REPORTED = {"misspellings": StoryMetric(described("misspellings"), _per_1000_words, of_spelling=True)}
