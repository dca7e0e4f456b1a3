"""Puts the missing blank beside a quotation mark after a comma: `"Yes,"said Tom` and `said,"Yes` get theirs.

Whether the mark opens or closes follows from the one before it: after an opening one it closes.
"""

from __future__ import annotations

import re
from string import ascii_letters

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ((",", '"', ascii_letters),)

_MISSING = re.compile(r',"(?=[A-Za-z])')


def apply(text: str) -> str:
    """The text with a blank on the outer side of such a quotation mark."""
    if ',"' not in text:
        return text
    match = _MISSING.search(text)
    while match:
        at = match.start() + 1
        blank = at + 1 if _inside(text, at) else at
        text = f"{text[:blank]} {text[blank:]}"
        match = _MISSING.search(text, at + 2)
    return text


def _inside(text: str, at: int) -> bool:
    """Whether position `at` stands inside speech: the quotation mark before it opens."""
    before = text.rfind('"', 0, at)
    if before < 0:
        return False
    return before == 0 or (text[before - 1] in " \n(—" and not text[before + 1].isspace())
