"""What the name of a source says: its kind, its compression, whether it can be read twice. Loads no library."""

from __future__ import annotations

import stat
from pathlib import Path

from ..errors import SourceError
from .storage import is_uri

__all__ = ["HUB", "KINDS", "PACKED", "STDIN", "is_stream", "kind_of"]

STDIN = "-"
HUB = "hub:"

KINDS = {
    ".jsonl": "jsonl",
    ".jsonlines": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
}
"""File name ending in lower case → kind; anything else is text."""

PACKED = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2"}
"""File name ending in lower case → compression."""

_ARCHIVES = (
    ".tar",
    ".tgz",
    ".tbz",
    ".zip",
    ".xz",
    ".7z",
    ".rar",
    ".lz4",
    ".arrow",
    ".feather",
    ".xlsx",
    ".docx",
    ".pdf",
    ".epub",
)
"""Endings of files that hold stories in a form that is not read."""


def kind_of(name: str) -> tuple[str, str | None]:
    """(kind, compression) of a file by the ending of its name, in any case: `tales.JSONL.GZ` is ("jsonl", "gzip").

    Raises SourceError for an archive.
    """
    path = Path(name)
    packed = PACKED.get(path.suffix.lower())
    ending = (path.with_suffix("") if packed else path).suffix.lower()
    if ending in _ARCHIVES:
        raise SourceError(f"{name}: {ending} files are not read. Unpack it, or make text, JSONL, CSV or Parquet of it first.")
    return KINDS.get(ending, "text"), packed


def is_stream(source: str) -> bool:
    """Whether a source can be read only once: stdin, a named pipe, a process substitution, a device."""
    if source == STDIN:
        return True
    if source.startswith(HUB) or is_uri(source):
        return False
    try:
        mode = Path(source).stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
