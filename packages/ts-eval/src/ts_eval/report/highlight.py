"""Marks the runs of words that two texts share. Returns pieces of text; the template escapes them."""

import re
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple

LEAST = 3
"""Shortest common run that is marked, in words."""
_RUN = re.compile(r"\w+")


class Piece(NamedTuple):
    """A piece of text; `run` is the number of its common run, or None; `exact`: within the longest exact span."""

    text: str
    run: int | None = None
    exact: bool = False


def side_by_side(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces; pieces with the same number are the same words."""
    a, b = list(_RUN.finditer(left)), list(_RUN.finditer(right))
    matcher = SequenceMatcher(None, [m.group().lower() for m in a], [m.group().lower() for m in b], autojunk=False)
    runs = [(i, j, n) for i, j, n in matcher.get_matching_blocks() if n >= LEAST]
    return _pieces(left, a, [(i, n) for i, _, n in runs]), _pieces(right, b, [(j, n) for _, j, n in runs])


def with_exact(pieces: list[Piece], span: str) -> list[Piece]:
    """Mark the first occurrence of `span` as exact; splits pieces at its ends."""
    start, end = _place(span, "".join(piece.text for piece in pieces))
    made, at = [], 0
    for piece in pieces:
        cuts = sorted({0, len(piece.text), *(c - at for c in (start, end) if at < c < at + len(piece.text))})
        made += [Piece(piece.text[a:b], piece.run, start <= at + a < end) for a, b in pairwise(cuts)]
        at += len(piece.text)
    return made


def holds(text: str, span: str) -> bool:
    """Whether the text contains the words of `span` as one run."""
    start, end = _place(span, text)
    return start < end


def _place(span: str, text: str) -> tuple[int, int]:
    """(start, end) of the first run of all the words of `span`, (0, 0) without one."""
    wanted, words = [m.group().lower() for m in _RUN.finditer(span)], list(_RUN.finditer(text))
    folded = [m.group().lower() for m in words]
    at = next((i for i in range(len(folded) - len(wanted) + 1) if folded[i : i + len(wanted)] == wanted), None)
    return (0, 0) if at is None or not wanted else (words[at].start(), words[at + len(wanted) - 1].end())


def _pieces(text: str, words: list[re.Match[str]], runs: list[tuple[int, int]]) -> list[Piece]:
    pieces, at = [], 0
    for number, (first, n) in enumerate(runs):
        start, end = words[first].start(), words[first + n - 1].end()
        pieces += [Piece(text[at:start]), Piece(text[start:end], number)]
        at = end
    return [piece for piece in [*pieces, Piece(text[at:])] if piece.text]
