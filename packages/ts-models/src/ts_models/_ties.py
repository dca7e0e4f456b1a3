"""Candidates of a question that a word-level model cannot tell apart: other texts, equal ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

__all__ = ["count_ties"]


def count_ties(questions: Iterable[Sequence[str]], encode: Callable[[str], Sequence[int]]) -> tuple[int, int]:
    """How many pairs of different candidates of one question have equal ids, and how many pairs there are."""
    tied = pairs = 0
    for candidates in questions:
        known = {text: tuple(encode(text)) for text in dict.fromkeys(candidates)}
        for one, other in combinations(known, 2):
            pairs += 1
            tied += known[one] == known[other]
    return tied, pairs
