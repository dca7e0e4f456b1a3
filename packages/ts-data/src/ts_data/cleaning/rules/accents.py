"""Removes accents from letters (`café` → `cafe`). Off by default: the talk drops such stories (rule `non_ascii`)."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["apply"]

_LOOSE = re.compile("(?<=[A-Za-z])[\u0300-\u0337\u0339-\u036f]+")


def apply(text: str) -> str:
    """Return the text with each accented Latin letter replaced by its base letter."""
    if text.isascii():
        return text
    return _LOOSE.sub("", "".join(_base(character) for character in unicodedata.normalize("NFC", text)))


def _base(character: str) -> str:
    """Return the ASCII letter of an accented one, any other character unchanged (also `≠`, which is `=` with a stroke)."""
    decomposed = unicodedata.normalize("NFD", character)
    return decomposed[0] if len(decomposed) > 1 and decomposed[0].isascii() and decomposed[0].isalpha() else character
