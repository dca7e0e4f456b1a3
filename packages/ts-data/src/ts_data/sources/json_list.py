"""Reads a JSON list entry by entry, so that a large file is never in memory as a whole."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import SourceError

__all__ = ["entries"]

_ENDS = tuple(", \t\r\n]")
_NUMBER = 64
"""Characters behind an entry of which at least one ends it: before, the rest of a number may be in the next piece."""

_BLANKS = re.compile(r"[ \t\r\n]*")


class _Text:
    """The text of a file, of which a piece is held."""

    def __init__(self, source: str, read: Callable[[], bytes]) -> None:
        self._source, self._read = source, read
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.held, self.at, self.whole = "", 0, False

    def more(self) -> None:
        """Drop what was read and hold another piece."""
        piece = self._read()
        try:
            text = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as problem:
            raise SourceError(f"{self._source}: not UTF-8 ({problem.object[problem.start : problem.start + 4]!r}).") from None
        self.held, self.at, self.whole = self.held[self.at :] + text, 0, not piece

    def next_sign(self) -> str:
        """The next character that is no blank; "" at the end of the file."""
        while True:
            blank = _BLANKS.match(self.held, self.at)
            assert blank is not None
            self.at = blank.end()
            if self.at < len(self.held) or self.whole:
                return self.held[self.at : self.at + 1]
            self.more()


def entries(source: str, read: Callable[[], bytes]) -> Iterator[Any]:
    """The entries of the JSON list in a file. `read` gives the next bytes, none at the end.

    Raises SourceError, with the number of the entry, where the file is not a JSON list.
    """
    text, number = _Text(source, read), 1
    if text.next_sign() != "[":
        raise SourceError(f"{source}: not a JSON list.")
    text.at += 1
    if text.next_sign() == "]":
        return
    while True:
        yield _entry(source, number, text)
        sign = text.next_sign()
        if sign not in (",", "]"):
            what = f"{sign!r} follows it" if sign else "the file ends after it"
            raise SourceError(f"{source}, entry {number:,}: {what}, a comma or the end of the list was expected. Mend the file.")
        text.at += 1
        if sign == "]":
            if rest := text.next_sign():
                raise SourceError(f"{source}: {rest!r} follows the end of the list after entry {number:,}. Mend the file.")
            return
        number += 1


def _entry(source: str, number: int, text: _Text) -> Any:
    decoder = json.JSONDecoder()
    text.next_sign()
    while True:
        try:
            value, end = decoder.raw_decode(text.held, text.at)
        except RecursionError:
            raise SourceError(f"{source}, entry {number:,}: nested too deeply. Remove the entry.") from None
        except ValueError as problem:
            if text.whole:
                reason = problem.msg if isinstance(problem, json.JSONDecodeError) else str(problem)
                raise SourceError(f"{source}, entry {number:,}: not JSON ({reason}). Mend or remove the entry.") from None
        else:
            if text.whole or text.held[end : end + 1] in _ENDS or len(text.held) - end > _NUMBER:
                text.at = end
                return value
        text.more()
