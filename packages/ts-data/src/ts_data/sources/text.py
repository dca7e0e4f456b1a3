"""Plain text: stories with a separator between them. Also the cuts of every file that is made of separated parts."""

import itertools
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence

import pyarrow as pa

from ..arrow import strings
from ..errors import SourceError
from ..schemas import PrepareConfig
from . import blocks
from .blocks import Bad, Block, Format, Input, Texts, pieces, stop
from .encoding import misnamed, not_utf8
from .separators import lines_like_separators
from .storage import open_file

_WINDOW = 1 << 16
"""Bytes that are searched for a separator at once: few stories are longer."""

LONGEST = 1 << 26
"""Bytes without a separator above which a text file counts as one without separators."""


class Text(Format):
    """Stories separated by `config.separator`."""

    def plan(self, source: Input, config: PrepareConfig) -> list[Block]:
        """Cut after a separator."""
        return cut_at(source, config.separator.encode())

    def read(self, block: Block, config: PrepareConfig, bad: Bad) -> Texts:
        """The text after the last separator of the file is a story that its end cuts, unless it is blank."""
        for place, parts, rest in pieces(block, config.separator.encode()):
            cut = bool(rest.strip()) and block.last
            if cut:
                parts.append(rest)
            bom = len(BOM_UTF8) if place == 0 and parts and parts[0].startswith(BOM_UTF8) else 0
            parts[:1] = [part[bom:] for part in parts[:1]]
            texts = strings(parts)
            try:
                texts.validate(full=True)
            except pa.ArrowInvalid:
                good = _decodable(parts, block.input, bad)
                texts, cut = strings(good), cut and good[-1:] == parts[-1:]
            yield texts, cut


def cut_at(source: Input, separator: bytes) -> list[Block]:
    """Cut a file into blocks that end after a separator."""
    cuts = [0, *_cuts(source, separator)]
    return [Block(source, a, b, b == cuts[-1]) for a, b in itertools.pairwise(cuts)]


def _cuts(source: Input, separator: bytes) -> Iterator[int]:
    """Ends of blocks: after the first separator at or behind each multiple of BLOCK, and the end of the file."""
    with open_file(source.path) as handle:
        size = handle.size()
        if source.kind == "text" and _find(handle, separator, 0, min(size, LONGEST)) < 0:
            first = handle.read_at(min(size, _WINDOW), 0).decode("utf-8", "replace")
            raise misnamed(source.name, source.path) or SourceError(
                f"{source.name}: the separator {separator.decode()!r} is not in the file{_perhaps(first)}. Put it between the stories, "
                f"or name yours: --set 'separator=\"…\"'."
            )
        at = 0
        while at + blocks.BLOCK < size:
            found = _find(handle, separator, at + blocks.BLOCK, min(size, at + blocks.BLOCK + LONGEST))
            if found < 0:
                if size - at > LONGEST:
                    raise SourceError(
                        f"{source.name}: no {separator.decode()!r} for {LONGEST >> 20} MB after byte {at + blocks.BLOCK:,}."
                    )
                break
            at = found + len(separator)
            yield at
        if at < size:
            yield size


def _perhaps(text: str) -> str:
    found = lines_like_separators(text)
    return f" (but {found!r} is)" if found else ""


def _find(handle: pa.NativeFile, separator: bytes, start: int, end: int) -> int:
    """The position of the first whole separator within bytes [start, end), or -1."""
    at = start
    while at < end:
        found: int = handle.read_at(min(_WINDOW + len(separator) - 1, end - at), at).find(separator)
        if found >= 0:
            return at + found
        at += _WINDOW
    return -1


def _decodable(parts: Sequence[bytes], source: Input, bad: Bad) -> list[bytes]:
    """The parts that are UTF-8; `bad` gets the others."""
    good = []
    for part in parts:
        try:
            part.decode()
        except UnicodeDecodeError as problem:
            if bad is stop:
                raise not_utf8(source.name, source.path) or SourceError(f"{source.name}: not UTF-8.") from None
            bad(SourceError(f"{source.name}: not UTF-8 ({problem.object[problem.start : problem.start + 4]!r})."))
        else:
            good.append(part)
    return good
