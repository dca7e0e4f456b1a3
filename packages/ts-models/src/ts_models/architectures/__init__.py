"""The kinds of network. `registry.ARCHITECTURES` is their table."""

from __future__ import annotations

from ..registry import ARCHITECTURES, load_entry
from .base import StoryModel

__all__ = ["StoryModel", "architecture"]


def architecture(kind: str) -> type[StoryModel]:
    """The class that builds configs of this kind."""
    return load_entry(ARCHITECTURES[kind])  # type: ignore[no-any-return]
