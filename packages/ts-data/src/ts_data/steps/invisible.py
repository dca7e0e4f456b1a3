"""Removes what no reader sees inside words: zero-width characters, soft hyphens, marks of direction, control characters.

Blanks of any width stay; the step `whitespace` makes one of them. So do the control characters 80 to 9F, which are halves of
mojibake: the step runs before `mojibake`, because an invisible character can stand inside `â€œ`.
"""

from __future__ import annotations

import re

__all__ = ["TRIGGERS", "apply"]

_PATTERN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U000e0000-\U000e0fff]"
)
TRIGGERS = tuple(map(chr, (*range(0x09), *range(0x0E, 0x1C), 0x7F)))


def apply(text: str) -> str:
    """The text without invisible characters."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return _PATTERN.sub("", text)
