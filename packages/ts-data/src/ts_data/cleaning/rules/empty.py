"""Drops stories in which nothing is left to read."""

from __future__ import annotations

from ..rules import ALWAYS, Drop

__all__ = ["SPARES", "TRIGGERS", "apply"]

TRIGGERS = ALWAYS
SPARES = 1


def apply(text: str) -> str | Drop:
    """The text, or Drop when it is blank."""
    return text if text and not text.isspace() else Drop("empty")
