"""Finds the rows of an Arrow string column that hold a trigger: a few NumPy passes over all bytes at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from .steps import Trigger

__all__ = ["Spotter"]


class Spotter:
    """Searches the bytes of one string column. A hit across the border of two stories may name a row too many, never too few."""

    def __init__(self, column: pa.Array) -> None:
        large = pa.types.is_large_string(column.type)
        _, offsets, content = column.buffers()
        self._offsets = np.frombuffer(offsets, np.int64 if large else np.int32)[column.offset : column.offset + len(column) + 1]
        self._bytes = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(0, np.uint8)
        self._raw = memoryview(content) if content is not None else memoryview(b"")
        self._places: dict[str, np.ndarray] = {}

    def rows(self, triggers: Sequence[Trigger]) -> list[int]:
        """The rows that hold any of the triggers, in ascending order."""
        singles = "".join(trigger for trigger in triggers if isinstance(trigger, str) and len(trigger) == 1)
        found = [self._match(trigger) for trigger in triggers if len(trigger) > 1]
        if singles and self._any(singles):
            found += [self._of(single) for single in singles]
        if not found:
            return []
        places = np.concatenate(found)
        rows: list[int] = np.unique(np.searchsorted(self._offsets, places, side="right") - 1).tolist()
        return [row for row in rows if 0 <= row < len(self._offsets) - 1]

    def _any(self, characters: str) -> bool:
        """Whether any of the characters occurs: deleting all others leaves something."""
        if len(characters) <= 2:
            return True
        others = bytes(set(range(256)) - set(characters.encode()))
        return bool(bytes(self._raw).translate(None, others))

    def _of(self, character: str) -> np.ndarray:
        """Places of one character."""
        if character not in self._places:
            self._places[character] = np.flatnonzero(self._bytes == ord(character))
        return self._places[character]

    def _match(self, trigger: Trigger) -> np.ndarray:
        """Places of a pattern: those of its first single character, looked at with their neighbours."""
        anchor = next(i for i, choice in enumerate(trigger) if len(choice) == 1 and choice != " ")
        places = self._of(trigger[anchor])
        places = places[(places >= anchor) & (places < len(self._bytes) - (len(trigger) - 1 - anchor))]
        for i, choice in enumerate(trigger):
            if i != anchor and len(places):
                allowed = np.zeros(256, bool)
                allowed[list(choice.encode())] = True
                places = places[allowed[self._bytes[places + (i - anchor)]]]
        return places
