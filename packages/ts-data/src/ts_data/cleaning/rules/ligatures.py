"""Spells out ligatures and full-width letters (`ﬁ` → `fi`, `æ` → `ae`, `Ａ` → `A`). Leaves accents, fractions and powers alone."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ()

_PATTERN = re.compile("[\ufb00-\ufb06\uff01-\uff5eæÆœŒĳĲ]")
_BY_HAND = {"æ": "ae", "œ": "oe", "Æ": "Ae", "Œ": "Oe"}


def apply(text: str) -> str:
    """The text with each ligature written as its letters, both of them capitals in a word of capitals."""
    if text.isascii():
        return text
    return _PATTERN.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    letters = _BY_HAND.get(match[0]) or unicodedata.normalize("NFKC", match[0])
    if match[0] in "ÆŒ" and _in_capitals(match.string, match.start()):
        return letters.upper()
    return letters


def _in_capitals(text: str, at: int) -> bool:
    """Whether the letter at a place has a capital beside it, and no small letter after it."""
    before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    return after.isupper() or (before.isupper() and not after.islower())
