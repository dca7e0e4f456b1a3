"""Adds the missing blank beside a quotation mark after a comma, as in `"Yes,"said Tom` and `said,"Yes`.

The mark before it decides whether it opens or closes: after an opening mark it closes.
"""

from __future__ import annotations

import re

__all__ = ["apply"]

_MISSING = re.compile(r',"(?=[A-Za-z])')


def apply(text: str) -> str:
    """Return the text with a blank on the outer side of such a quotation mark."""
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
    """Return whether position `at` is inside speech: the quotation mark before it opens."""
    before = text.rfind('"', 0, at)
    if before < 0:
        return False
    return before == 0 or (text[before - 1] in " \n(—" and not text[before + 1].isspace())
