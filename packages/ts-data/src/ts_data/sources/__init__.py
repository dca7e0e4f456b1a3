"""Raw stories: where they are, which kind of file they are in, and how they are read.

A kind of source is one module with a `blocks.Format` and one line in SOURCES. This module loads no library.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from ..errors import SourceError
from .storage import is_uri

if TYPE_CHECKING:
    from .blocks import Format

STDIN = "-"


@dataclass(frozen=True)
class SourceType:
    """A line of SOURCES."""

    target: str | type[Format]
    """`"module:class"` of the format, or the class."""

    endings: tuple[str, ...] = ()
    """Endings of file names, in lower case."""

    prefix: str = ""
    """Beginning of names that are no file, such as `hub:`."""

    magic: bytes = b""
    """The first bytes of such a file, to recognise it in a pipe."""

    is_compressed: bool = False
    """Files hold several times their size of text."""


SOURCES: dict[str, SourceType] = {
    "text": SourceType("ts_data.sources.text:Text", (".txt", ".text")),
    "jsonl": SourceType("ts_data.sources.jsonl:JsonLines", (".jsonl", ".jsonlines", ".ndjson", ".json")),
    "parquet": SourceType("ts_data.sources.parquet:Parquet", (".parquet", ".pq"), magic=b"PAR1", is_compressed=True),
    "csv": SourceType("ts_data.sources.csv:Csv", (".csv",)),
    "tsv": SourceType("ts_data.sources.csv:Tsv", (".tsv", ".tab")),
    "hub": SourceType("ts_data.sources.hub:Hub", prefix="hub:"),
}
"""Kind → type. A file with any other ending is text."""

PACKED = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2"}
"""File name ending in lower case → compression."""

_ARCHIVES = frozenset(
    [".tar", ".tgz", ".tbz", ".zip", ".xz", ".7z", ".rar", ".lz4", ".arrow", ".feather", ".xlsx", ".docx", ".pdf", ".epub"]
)
"""Endings of files that may hold stories but cannot be read."""


def load_format(kind: str) -> Format:
    """The format of a kind of source."""
    target: Any = SOURCES[kind].target
    found: Format = (resolve_name(target) if isinstance(target, str) else target)()
    return found


def kind_of(name: str) -> tuple[str, str | None]:
    """(kind, compression) of a file by the ending of its name, in any case: `tales.JSONL.GZ` is ("jsonl", "gzip").

    Raises SourceError for an archive.
    """
    path = Path(name)
    packed = PACKED.get(path.suffix.lower())
    ending = (path.with_suffix("") if packed else path).suffix.lower()
    if ending in _ARCHIVES:
        raise SourceError(
            f"{name}: {ending} files cannot be read. Unpack it, or convert it to text, JSONL, CSV or Parquet first."
        )
    return next((kind for kind, known in SOURCES.items() if ending in known.endings), "text"), packed


def kind_of_prefix(name: str) -> str | None:
    """The kind of a source that is no file, such as `hub:owner/name`, by the prefix of its name; None for a file."""
    return next((kind for kind, known in SOURCES.items() if known.prefix and name.startswith(known.prefix)), None)


def is_stream(source: str) -> bool:
    """Whether a source can be read only once: stdin, a named pipe, a process substitution, a device."""
    if source == STDIN:
        return True
    if kind_of_prefix(source) or is_uri(source):
        return False
    try:
        mode = Path(source).stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
