"""Takes the accents off letters (`café` → `cafe`). Off by default: the talk drops such stories (step `non_ascii`)."""

from __future__ import annotations

import unicodedata

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ()


def apply(text: str) -> str:
    """The text with each accented Latin letter replaced by its base letter."""
    if text.isascii():
        return text
    return "".join(_base(character) for character in unicodedata.normalize("NFC", text))


def _base(character: str) -> str:
    decomposed = unicodedata.normalize("NFD", character)
    return decomposed[0] if decomposed[0].isascii() and len(decomposed) > 1 else character
