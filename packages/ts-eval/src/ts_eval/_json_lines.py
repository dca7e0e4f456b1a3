"""JSON lines, read with the place of each line for the messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .errors import ArtefactError

__all__ = ["json_lines"]


def json_lines(text: str, source: object) -> Iterator[tuple[str, Any]]:
    """("FILE, line N", value) of each line that is not blank. Raises ArtefactError for one that is not JSON."""
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a story may hold U+2028
        if not line.strip():
            continue
        place = f"{source}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise ArtefactError(f"{place}: not JSON; the file is damaged.") from None
        yield place, value
