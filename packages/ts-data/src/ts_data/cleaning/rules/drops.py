"""The rules that drop a story: without text, cut off, beyond ASCII, too short."""

from pydantic import Field

from . import Drop
from .base import ParametricRule

_ENDS = (".", "!", "?", '"', "'", "”", "’", "…", ")", "—")


def empty(text: str) -> str | Drop:
    """Drop a blank text."""
    return text if text and not text.isspace() else Drop("empty")


def truncated(text: str) -> str | Drop:
    """Drop a story that does not end like a sentence. Runs only on the last story of a file, if no separator follows it."""
    return text if text.rstrip().endswith(_ENDS) or not text.strip() else Drop("truncated")


def non_ascii(text: str) -> str | Drop:
    """Drop a story with a character beyond ASCII that no earlier rule could repair. The em dash may stay."""
    return text if text.isascii() or text.replace("\u2014", "").isascii() else Drop("non_ascii")


class Short(ParametricRule):
    """Drops a story of fewer than `min_characters` characters."""

    min_characters: int = Field(default=180, ge=0)

    def __call__(self, text: str) -> str | Drop:
        """Return the text, or Drop if it is too short."""
        return text if len(text) >= self.min_characters else Drop("short")
