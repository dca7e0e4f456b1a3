"""Drops stories with a character beyond ASCII that no earlier rule could repair. The em dash may stay."""

from __future__ import annotations

from . import Drop

__all__ = ["apply"]


def apply(text: str) -> str | Drop:
    """Return the text, or Drop if it holds a character other than ASCII and the em dash."""
    return text if text.isascii() or text.replace("\u2014", "").isascii() else Drop("non_ascii")
