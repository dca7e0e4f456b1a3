"""spaCy's tokens of a text from the tokens of its blank-separated chunks.

spaCy splits a text at white space and tokenizes each chunk on its own. Only its last step, the matcher of special cases, runs
over the whole text. A text in which that matcher could join two chunks (`crossing`) goes to spaCy as a whole; the tokens of
any other text are those of its chunks in order.
"""

import re
import threading
from collections.abc import Sequence

from .pinned import Rules
from .plain_words import PlainWords, Row

_RUNS = re.compile(r"\S+|\s+")  # for str, \s is str.isspace: spaCy's own notion of white space


def split_chunks(text: str) -> list[str]:
    """Split a text into spaCy's chunks: runs of non-space and of white space, without the single blank after each."""
    chunks = text.split(" ")
    if chunks == text.split():
        return chunks
    chunks = []
    for run in _RUNS.findall(text):
        if run[0] == " " and chunks:
            run = run[1:]
        if run:
            chunks.append(run)
    return chunks


class ChunkTable:
    """Numbered chunks with their tokens and the special cases that they could share with a neighbour. Thread-safe."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.tokens: list[list[str]] = []
        self._plain = PlainWords(rules)
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._left: list[frozenset[str]] = []
        self._right: list[frozenset[str]] = []

    def numbers(self, chunks: Sequence[str]) -> list[int]:
        """The numbers of chunks; new chunks are tokenized first."""
        known = self._numbers
        try:
            return [known[chunk] for chunk in chunks]
        except KeyError:
            with self._lock:
                self._add([chunk for chunk in dict.fromkeys(chunks) if chunk not in known])
            return [known[chunk] for chunk in chunks]

    def _add(self, chunks: list[str]) -> None:
        for chunk, (tokens, starts, ends) in zip(chunks, self.rows(chunks), strict=True):
            self._left.append(starts)
            self._right.append(ends)
            self.tokens.append(tokens)
            self._numbers[chunk] = len(self.tokens) - 1  # last: other threads read without the lock

    def rows(self, chunks: Sequence[str]) -> list[Row]:
        """Each chunk's tokens, and the tokens of special cases that its start and its end could belong to.

        A crossing match contains the end of one chunk and the start of the next, whatever the tokens inside the chunks.
        """
        rows = self._plain.split(chunks)
        odd = [i for i, row in enumerate(rows) if row is None]
        for i, tokens in zip(odd, self.rules.split_chunks([chunks[i] for i in odd]), strict=True):
            rows[i] = Row(tokens, *self.rules.edges(chunks[i], chunks[i]))
        return rows  # type: ignore[return-value]

    def crossing(self, numbers: Sequence[int]) -> bool:
        """Whether spaCy's matcher could join two adjacent chunks, so that spaCy must tokenize the whole text."""
        left, right, pairs = self._left, self._right, self.rules.pairs
        for before, starts in zip(numbers, map(left.__getitem__, numbers[1:]), strict=False):
            if starts and any((end, start) in pairs for end in right[before] for start in starts):
                return True
        return False

    def split(self, text: str) -> list[str]:
        """spaCy's tokens of a normalised text."""
        numbers = self.numbers(split_chunks(text))
        if self.crossing(numbers):
            return self.rules.split(text)
        return [token for number in numbers for token in self.tokens[number]]
