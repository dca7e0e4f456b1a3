"""Exact search over the training stories: building, storing and scanning the index. `StoryIndex` is the entry point."""

from .spans import Span
from .story_index import Match, StoryIndex

__all__ = ["Match", "Span", "StoryIndex"]
