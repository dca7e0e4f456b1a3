"""Says where in a raw file something is wrong: the line, the byte, and how to mend it. Only asked once a file is known to be bad."""

from __future__ import annotations

import codecs

from ._storage import open_file
from .errors import SourceError

__all__ = ["line_of", "misnamed", "not_utf8"]

_PIECE = 1 << 22
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_KINDS = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"PAR1": ".parquet"}
"""First bytes -> the ending by which a file of that kind is known."""


def line_of(path: str, at: int) -> int:
    """The line, from 1, in which byte `at` of a file stands."""
    line, place = 1, 0
    with open_file(path) as handle:
        while place < at and (piece := handle.read(min(_PIECE, at - place))):
            line, place = line + piece.count(b"\n"), place + len(piece)
    return line


def misnamed(name: str, path: str) -> SourceError | None:
    """The error for a text file that is none, by its first bytes; None where they are no other kind's."""
    with open_file(path) as handle:
        first = handle.read(4)
    if first.startswith(_WIDE):
        return SourceError(f"{name}: is UTF-16, not UTF-8. Convert it first, for example: iconv -f UTF-16 -t UTF-8")
    for begin, ending in _KINDS.items():
        if first.startswith(begin):
            return SourceError(f"{name}: is no text but a {ending} file. Give it that ending.")
    return None


def not_utf8(name: str, path: str) -> SourceError | None:
    """The error for a file that is not UTF-8, with the first place where it is not; None where it is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, place = 1, 0
    with open_file(path) as handle:
        while True:
            piece = handle.read(_PIECE)
            held = len(decoder.getstate()[0])  # the first bytes of a character that the last piece ended in
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as problem:
                line += problem.object[: problem.start].count(b"\n")
                return misnamed(name, path) or SourceError(
                    f"{name}, line {line:,}: not UTF-8 at byte {place - held + problem.start:,} of the file "
                    f"({problem.object[problem.start : problem.start + 4]!r}). Convert it first, for example: iconv -f WINDOWS-1252 -t UTF-8"
                )
            if not piece:
                return None
            line, place = line + piece.count(b"\n"), place + len(piece)
