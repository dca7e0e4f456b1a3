"""Takes the accents off letters (`café` → `cafe`). Off by default: the talk drops such stories (step `non_ascii`)."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ()

_LOOSE = re.compile("(?<=[A-Za-z])[\u0300-\u0337\u0339-\u036f]+")


def apply(text: str) -> str:
    """The text with each accented Latin letter replaced by its base letter."""
    if text.isascii():
        return text
    return _LOOSE.sub("", "".join(_base(character) for character in unicodedata.normalize("NFC", text)))


def _base(character: str) -> str:
    """The ASCII letter of an accented one; anything else (`≠`, too, which is `=` and a stroke) as it is."""
    decomposed = unicodedata.normalize("NFD", character)
    return decomposed[0] if len(decomposed) > 1 and decomposed[0].isascii() and decomposed[0].isalpha() else character
