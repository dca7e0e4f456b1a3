"""Spells out ligatures and full-width letters (`ﬁ` → `fi`, `æ` → `ae`, `Ａ` → `A`). Keeps accents, fractions and powers."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["apply"]

_PATTERN = re.compile("[\ufb00-\ufb06\uff01-\uff5eæÆœŒĳĲ]")
_BY_HAND = {"æ": "ae", "œ": "oe", "Æ": "Ae", "Œ": "Oe"}


def apply(text: str) -> str:
    """Return the text with each ligature written as its letters, both capitals in a word of capitals."""
    if text.isascii():
        return text
    return _PATTERN.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    letters = _BY_HAND.get(match[0]) or unicodedata.normalize("NFKC", match[0])
    if match[0] in "ÆŒ" and _in_capitals(match.string, match.start()):
        return letters.upper()
    return letters


def _in_capitals(text: str, at: int) -> bool:
    """Return whether the letter at a position has a capital beside it and no small letter after it."""
    before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    return after.isupper() or (before.isupper() and not after.islower())
