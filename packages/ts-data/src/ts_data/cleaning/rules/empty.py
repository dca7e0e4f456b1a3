"""Drops stories without any text."""

from __future__ import annotations

from . import Drop

__all__ = ["apply"]


def apply(text: str) -> str | Drop:
    """Return the text, or Drop if it is blank."""
    return text if text and not text.isspace() else Drop("empty")
