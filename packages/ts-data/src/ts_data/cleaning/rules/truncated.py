"""Drops the last story of a file when the file ends in the middle of its last sentence.

It runs only where no separator follows the story (a download that broke off); elsewhere a story may end as it likes.
"""

from __future__ import annotations

from ..rules import ALWAYS, Drop

__all__ = ["CUT_ONLY", "TRIGGERS", "apply"]

TRIGGERS = ALWAYS
CUT_ONLY = True

_END = (".", "!", "?", '"', "'", "”", "’", "…", ")", "—")


def apply(text: str) -> str | Drop:
    """The text, or Drop when it does not end as a sentence does."""
    return text if text.rstrip().endswith(_END) or not text.strip() else Drop("truncated")
