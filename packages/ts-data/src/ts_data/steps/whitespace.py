"""One blank between words, none at the ends: runs of blanks, tabs, line breaks and Unicode spaces become one blank.

Paragraph breaks go, too: at word level they carry no token, and decode could not bring them back. The step
`paragraphs` keeps them; put it in the place of this one.
"""

from __future__ import annotations

from . import ALWAYS

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ALWAYS


def apply(text: str) -> str:
    """The text with single blanks."""
    if not text.isascii():
        return " ".join(text.split())
    # Most stories need no more than this, and it takes a quarter of the time of splitting and joining.
    single = text.strip().replace(" \n", "\n").replace("\n\n", " ").replace("\n", " ")
    return " ".join(text.split()) if "  " in single or _rare(single) else single


def _rare(text: str) -> bool:
    """Whether an ASCII text has a blank other than space and line feed (written out: this runs for every story)."""
    return (
        "\r" in text
        or "\t" in text
        or "\x0b" in text
        or "\x0c" in text
        or "\x1c" in text
        or "\x1d" in text
        or "\x1e" in text
        or "\x1f" in text
    )
