"""Alignment of stories: ids with the actual blanks and cases of the texts. Each distinct chunk is processed once.

A text that is not the tokens of its chunks with single blanks between them (`rules.chunks`), or that lower-casing lengthens, is
processed as a whole.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from ..rules.chunks import ChunkTable
from ..rules.text import normalise, spans
from .model import OTHER, Stories, case_of


def align(texts: Sequence[str], table: ChunkTable, ids: Callable[[str], int], unk: int, *, keep: bool) -> Stories:
    """Align texts; with `keep` a token without a case class is `unk`."""
    chunks = [_plain_chunks(text) for text in texts]
    distinct = list(dict.fromkeys(itertools.chain.from_iterable(chunks)))
    numbers = table.numbers([normalise(chunk) for chunk in distinct])
    entries = _Entries()
    known = {chunk: entries.add(chunk, table.tokens[number]) for chunk, number in zip(distinct, numbers, strict=True)}
    rows: list[list[int]] = []
    for text, own in zip(texts, chunks, strict=True):
        row = [known[chunk] for chunk in own]
        if not own or table.crossing([numbers[entry] for entry in row]):
            row = [entries.add(text, table.split(normalise(text)))]
        rows.append(row)
    return entries.in_a_row(rows, ids, unk, keep=keep)


def _plain_chunks(text: str) -> list[str]:
    """The chunks of a text with single blanks whose length lower-casing keeps; otherwise an empty list."""
    chunks = text.split(" ")
    return chunks if chunks == text.split() and len(normalise(text)) == len(text) else []


class _Entries:
    """The parts of stories: chunks, and texts that are processed as a whole."""

    def __init__(self) -> None:
        self._tokens: list[str] = []
        self._surfaces: list[str] = []
        self._blanks: list[bool] = []
        self._starts = [0]

    def add(self, text: str, tokens: Sequence[str]) -> int:
        """Add a part and return its number."""
        found = spans(text, tokens)
        self._tokens += tokens
        self._surfaces += [text[start:end] for start, end in found]
        self._blanks += [i == 0 or start > found[i - 1][1] for i, (start, _) in enumerate(found)]
        self._starts.append(len(self._tokens))
        return len(self._starts) - 2

    def in_a_row(self, rows: Sequence[Sequence[int]], ids: Callable[[str], int], unk: int, *, keep: bool) -> Stories:
        own = np.array([ids(token) for token in self._tokens], dtype=np.int64)
        cases = np.array([case_of(*pair) for pair in zip(self._surfaces, self._tokens, strict=True)], dtype=np.int64)
        if keep:
            own[cases == OTHER] = unk
        starts = np.array(self._starts)
        entries = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64)
        sizes = starts[entries + 1] - starts[entries]
        ends = np.cumsum(sizes)
        where = np.repeat(starts[entries] + sizes - ends, sizes) + np.arange(sizes.sum())
        bounds = np.concatenate([[0], ends])[np.cumsum([0, *map(len, rows)])]
        blanks = np.array(self._blanks, dtype=np.int64)[where]
        blanks[bounds[:-1][np.diff(bounds) > 0]] = 0
        return Stories(own[where], blanks, cases[where], np.diff(bounds), where, self._surfaces)
