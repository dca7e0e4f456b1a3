"""Finds faults of the encoding of a raw file, with line, byte and remedy."""

import codecs
import re

from ..errors import SourceError
from .storage import open_file

_PIECE = 1 << 22
_WIDE = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks; those of UTF-32 come first, because one of them begins as one of UTF-16 does."""

_KINDS = {
    b"\x1f\x8b": ".gz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"BZh": ".bz2",
    b"PAR1": ".parquet",
    b"PK\x03\x04": ".zip",
    b"\xfd7zXZ": ".xz",
    b"ARROW1": ".arrow",
    b"%PDF": ".pdf",
}
"""First bytes -> the ending by which a file of that kind is known."""

_READ = (".gz", ".zst", ".bz2", ".parquet")
_LOOK = 4096
_CUT = "The file ends there: if it was cut off, download it again, or leave out its last story (--set bad_lines=skip). Else: "
_JSON = re.compile(r"\.(nd)?json(l|lines)?(\.|$)", re.IGNORECASE)


def ending_of(first: bytes) -> str | None:
    """The usual ending of a file that is no text, by its first bytes."""
    return next((ending for begin, ending in _KINDS.items() if first.startswith(begin)), None)


def line_of(path: str, at: int) -> int:
    """The line, from 1, that holds byte `at` of a file."""
    line, place = 1, 0
    with open_file(path) as handle:
        while place < at and (piece := handle.read(min(_PIECE, at - place))):
            line, place = line + piece.count(b"\n"), place + len(piece)
    return line


def first_bytes(path: str) -> bytes:
    """The first bytes of a text file after its byte order mark and blanks."""
    with open_file(path) as handle:
        first: bytes = handle.read(_LOOK)
    return first.removeprefix(codecs.BOM_UTF8).lstrip()


def check_encoding(name: str, path: str) -> None:
    """Raise SourceError for a text file of UTF-16 or UTF-32, with or without a byte order mark."""
    with open_file(path) as handle:
        encoding = _wide(handle.read(_LOOK))
    if encoding:
        raise SourceError(
            f"{name}: is {encoding}, not UTF-8. Convert it first, for example: iconv -f {encoding} -t UTF-8 IN > OUT"
        )


def _wide(first: bytes) -> str | None:
    """The encoding of a file of two or four bytes a character, by its first bytes."""
    for mark, encoding in _WIDE:
        if first.startswith(mark):
            return encoding
    whole = first[: len(first) // 4 * 4]
    if len(whole) < 8 or whole.count(0) * 3 < len(whole):
        return None
    filled = [len(whole[place::4]) - whole[place::4].count(0) for place in range(4)]
    if filled[2] == filled[3] == 0 and filled[0]:
        return "UTF-32LE"
    if filled[0] == filled[1] == 0 and filled[3]:
        return "UTF-32BE"
    little, big = filled[0] + filled[2], filled[1] + filled[3]
    return "UTF-16LE" if little > 4 * big else "UTF-16BE" if big > 4 * little else None


def misnamed(name: str, path: str) -> SourceError | None:
    """The error for a text file that is another kind of file by its first bytes; None if it is not."""
    check_encoding(name, path)
    with open_file(path) as handle:
        first = handle.read(_LOOK)
    if ending := ending_of(first):
        mend = "Give it that ending." if ending in _READ else "Unpack it or make it text first."
        return SourceError(f"{name}: is a {ending} file, not text. {mend}")
    begin = first.removeprefix(codecs.BOM_UTF8).lstrip()
    if begin.startswith((b'{"', b'["', b"[{")) and not _JSON.search(name):
        return SourceError(f"{name}: looks like JSON, but its ending says text. Name it .jsonl or .json.")
    return None


def not_utf8(name: str, path: str) -> SourceError | None:
    """The error for a file that is not UTF-8, with the first position of the fault; None if it is UTF-8."""
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
                    f"({problem.object[problem.start : problem.start + 4]!r}). {_CUT if not piece else ''}"
                    f"Convert it first, for example: iconv -f WINDOWS-1252 -t UTF-8"
                )
            if not piece:
                return None
            line, place = line + piece.count(b"\n"), place + len(piece)
