"""Spells out ligatures and full-width letters (`ﬁ` → `fi`, `æ` → `ae`, `Ａ` → `A`). Accents are not its business."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ()

_PATTERN = re.compile("[\ufb00-\ufb06\uff01-\uff5eæÆœŒĳĲ]")
_BY_HAND = {"æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe"}


def apply(text: str) -> str:
    """The text with each ligature written as its letters."""
    if text.isascii():
        return text
    return _PATTERN.sub(lambda match: _BY_HAND.get(match[0]) or unicodedata.normalize("NFKC", match[0]), text)
