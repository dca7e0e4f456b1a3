"""Drops stories with a character beyond ASCII that no earlier step could repair. The em dash may stay."""

from __future__ import annotations

from ..rules import Drop

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ()


def apply(text: str) -> str | Drop:
    """The text, or Drop when something other than ASCII and the em dash is left in it."""
    return text if text.isascii() or text.replace("\u2014", "").isascii() else Drop("non_ascii")
