"""Drops the last story of a file when the file ends in the middle of a sentence.

It runs only on a story without a separator after it (an interrupted download). Elsewhere a story may end in any way.
"""

from __future__ import annotations

from . import Drop

__all__ = ["apply"]

_END = (".", "!", "?", '"', "'", "”", "’", "…", ")", "—")


def apply(text: str) -> str | Drop:
    """Return the text, or Drop if it does not end like a sentence."""
    return text if text.rstrip().endswith(_END) or not text.strip() else Drop("truncated")
