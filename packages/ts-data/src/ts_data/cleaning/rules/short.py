"""Drops stories below a number of characters."""

from __future__ import annotations

from pydantic import Field

from . import Drop
from .base import ParametricRule

__all__ = ["Short"]


class Short(ParametricRule):
    """Drops a story of fewer than `min_characters` characters."""

    min_characters: int = Field(default=180, ge=0)

    def __call__(self, text: str) -> str | Drop:
        """Return the text, or Drop if it is too short."""
        return text if len(text) >= self.min_characters else Drop("short")
