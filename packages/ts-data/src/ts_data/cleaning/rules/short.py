"""Drops stories under a number of characters (180 in the talk; `PrepareConfig.min_characters`)."""

from __future__ import annotations

from collections.abc import Callable

from ..rules import ALWAYS, Drop

__all__ = ["TRIGGERS", "apply", "at_least"]

TRIGGERS = ALWAYS


def at_least(characters: int) -> Callable[[str], str | Drop]:
    """The step for another limit."""

    def check(text: str) -> str | Drop:
        return text if len(text) >= characters else Drop("short")

    return check


apply = at_least(180)
