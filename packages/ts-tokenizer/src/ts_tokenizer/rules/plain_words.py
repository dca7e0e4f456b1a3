"""Plain chunks (a word with punctuation around it), whose tokens follow from the rules without one spaCy call each.

The patterns match a letter of a word only next to a punctuation mark, and treat all lower-case letters alike there; the one
exception is a final `'s`. Two chunks that differ only in a word of two or more letters are therefore split alike, unless the
word belongs to a special case that the chunk contains. spaCy is called once per combination of marks, with a placeholder word.
`tests/test_plain.py` proves these properties from the patterns whose hash is in `pinned.PROVEN`; with other patterns no chunk
is plain.
"""

import re
import string
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from .pinned import PROVEN, Rules, fingerprint

MARKS = string.punctuation
STAND_IN = "qzxqzx"
_LINE = re.compile(rf"^([{re.escape(MARKS)}]*)([a-z]{{2,}})((?:'s)?[{re.escape(MARKS)}]*)$|^.*$", re.MULTILINE)
_WORDS = re.compile("[a-z]{2,}")
_NONE: frozenset[str] = frozenset()


class Row(NamedTuple):
    """A chunk's tokens, and the tokens of special cases that its start and its end could belong to."""

    tokens: list[str]
    starts: frozenset[str]
    ends: frozenset[str]


class _Frame(NamedTuple):
    """The tokens before and after the word, and the special-case tokens at both edges (None if the word is the edge)."""

    before: list[str]
    after: list[str]
    starts: frozenset[str] | None
    ends: frozenset[str] | None


class PlainWords:
    """Tokenizes plain chunks."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._frames: dict[tuple[str, str], _Frame | None] = {}

    @cached_property
    def _cases(self) -> dict[str, list[str]]:
        """Word -> the special cases that contain it."""
        cases = defaultdict(list)
        for case in self._rules.spec.exceptions:
            for word in _WORDS.findall(case):
                cases[word].append(case)
        return dict(cases)

    @cached_property
    def _proven(self) -> bool:
        return fingerprint(self._rules.spec) in PROVEN and STAND_IN not in self._cases

    def split(self, chunks: Sequence[str]) -> list[Row | None]:
        """The row of each chunk; None for a chunk that is not plain."""
        if not (chunks and self._proven):
            return [None] * len(chunks)
        cases, firsts, seconds = self._cases, frozenset(self._rules.firsts), frozenset(self._rules.seconds)
        rows: list[Row | None] = []
        lines = "\n".join([chunk.replace("\n", " ") for chunk in chunks])
        for (lead, word, trail), chunk in zip(_LINE.findall(lines), chunks, strict=True):
            frame = None
            if word and not (word in cases and any(case in chunk for case in cases[word])):
                frame = self._frames.get((lead, trail)) or self._frame(lead, trail)
            if frame is None:
                rows.append(None)
                continue
            before, after, starts, ends = frame
            if starts is None:
                starts = frozenset((word,)) if word in seconds else _NONE
            if ends is None:
                ends = frozenset((word,)) if word in firsts else _NONE
            rows.append(Row([*before, word, *after], starts, ends))
        return rows

    def _frame(self, lead: str, trail: str) -> _Frame | None:
        if (lead, trail) not in self._frames:
            tokens = self._rules.split(f"{lead}{STAND_IN}{trail}")
            frame = None
            if STAND_IN in tokens:
                place = tokens.index(STAND_IN)
                starts, ends = self._rules.edges(lead, trail)
                frame = _Frame(tokens[:place], tokens[place + 1 :], starts if lead else None, ends if trail else None)
            self._frames[lead, trail] = frame
        return self._frames[lead, trail]
