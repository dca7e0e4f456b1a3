"""Leaves one blank between words and none at the ends: runs of blanks, tabs, line breaks and Unicode spaces become one space.

Paragraph breaks go too: at word level they carry no token, and decoding could not restore them. The rule `paragraphs` keeps them; use
it in place of this one.
"""

from __future__ import annotations

__all__ = ["apply"]


def apply(text: str) -> str:
    """Return the text with single spaces."""
    plain = text.replace("\n", " ").strip(" ")
    if not (plain.isascii() and plain.isprintable()):  # another blank may be in it
        return " ".join(text.split())
    while "  " in plain:
        plain = plain.replace("  ", " ")
    return plain
