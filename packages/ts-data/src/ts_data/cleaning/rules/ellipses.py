"""One form for the ellipsis: three dots, glued to the word before, a blank after (`wait … what`, `wait...what` → `wait... what`).

Two dots between digits (`1..5`) or before a slash (`../`) are no ellipsis and stay.
"""

from __future__ import annotations

import re

from ..rules import BLANK

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ("..", *((".", *[BLANK] * blanks, ".") for blanks in (1, 2, 3)))

_SPACED = re.compile(r"\.\s{1,3}\.")
_DOTS = re.compile(r"…[.…]*|(?:(?<![0-9])\.\.(?![\\/])|(?<=[0-9])\.\.(?![0-9]))[.…]*|(?<!\.)\.(?:\s{1,3}\.){2,}")
_BEFORE = re.compile(r"(?<=\w)\s+\.\.\.(?!\w)")
_AFTER = re.compile(r"(?<=[\w?!,])\.\.\.(?=\w)")


def apply(text: str) -> str:
    """The text with `...` for every ellipsis."""
    if ".." not in text and "…" not in text and not _SPACED.search(text):
        return text
    text = _DOTS.sub("...", text)
    return _AFTER.sub("... ", _BEFORE.sub("...", text))
