"""Two texts side by side with the runs of words that they share marked. Gives pieces; the template escapes them."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

__all__ = ["Piece", "side_by_side"]

LEAST = 3
"""Words that a common run must have to be marked."""
_RUN = re.compile(r"\w+")


class Piece(NamedTuple):
    """A stretch of text; `run` numbers the common run that it belongs to, or is None."""

    text: str
    run: int | None


def side_by_side(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces; pieces with the same number are the same words."""
    a, b = list(_RUN.finditer(left)), list(_RUN.finditer(right))
    matcher = SequenceMatcher(None, [m.group().lower() for m in a], [m.group().lower() for m in b], autojunk=False)
    runs = [(i, j, n) for i, j, n in matcher.get_matching_blocks() if n >= LEAST]
    return _pieces(left, a, [(i, n) for i, _, n in runs]), _pieces(right, b, [(j, n) for _, j, n in runs])


def _pieces(text: str, words: list[re.Match[str]], runs: list[tuple[int, int]]) -> list[Piece]:
    pieces, at = [], 0
    for number, (first, n) in enumerate(runs):
        start, end = words[first].start(), words[first + n - 1].end()
        pieces += [Piece(text[at:start], None), Piece(text[start:end], number)]
        at = end
    return [piece for piece in [*pieces, Piece(text[at:], None)] if piece.text]
