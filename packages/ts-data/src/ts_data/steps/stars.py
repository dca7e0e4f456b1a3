"""Removes asterisks, which mark emphasis or scene breaks in some stories and nothing that a reader hears."""

from __future__ import annotations

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ("*",)


def apply(text: str) -> str:
    """The text without asterisks."""
    return text.replace("*", "")
