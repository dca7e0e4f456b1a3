"""Finds the rows of an Arrow string column that hold a trigger or a character beyond ASCII: one pattern, one pass, in Arrow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..arrow import numbers
from .rules import Trigger

__all__ = ["spotted"]


def spotted(column: pa.Array, triggers: Iterable[Trigger]) -> np.ndarray:
    """Which rows `[rows]`, bool. No other one can be changed by a step that declares triggers."""
    pattern = "|".join([r"[^\x00-\x7f]", *map(_pattern, triggers)])
    return numbers(pc.match_substring_regex(column, pattern))


def _pattern(trigger: Trigger) -> str:
    """A trigger, a sequence of sets of ASCII characters, as a regular expression."""
    return "".join("[" + "".join(rf"\x{ord(character):02x}" for character in choice) + "]" for choice in trigger)
