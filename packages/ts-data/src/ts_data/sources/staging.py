"""Turns every source into an input that can be cut into blocks: copies pipes, unpacks gzip, zstd and bzip2, converts by the format.

Everything is done in pieces, nothing in memory as a whole.
"""

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from ..artefact import write_file
from ..errors import SourceError
from ..schemas import PrepareConfig, Role
from . import PACKED, SOURCES, STDIN, is_stream, kind_of, kind_of_prefix, load_format
from .blocks import Input, RawSource
from .encoding import check_encoding, ending_of, first_bytes
from .storage import is_uri, open_file, state

_PIECE = 1 << 22


def origin_of(source: str) -> str | None:
    """The file of a source, checked; None for a stream and for a source that is no file."""
    return None if is_stream(source) or kind_of_prefix(source) else _existing(source)


def stage(source: str, role: Role, place: Callable[[str], Path], config: PrepareConfig) -> Input:
    """A source as an input that can be cut into blocks. `place` gives the path of a copy for its suffix."""
    if kind := kind_of_prefix(source):
        return load_format(kind).stage(RawSource(source, source, source, kind, role, place, config.text_column), config)
    packed: str | None
    if is_stream(source):
        origin = str(_copied(source, place("")))
        kind, packed = _kind_by_content(Path(origin))
    else:
        origin = _existing(source)
        kind, packed = kind_of(origin)
    path = origin
    if packed:
        path = str(_unpacked(source, origin, packed, place(f".{kind}")))
        kind = _kind_by_content(Path(path))[0] if is_stream(source) else kind
    found = load_format(kind)
    if found.is_text:
        check_encoding(source, path)
    return found.stage(RawSource(source, path, origin, kind, role, place, config.text_column), config)


def _existing(name: str) -> str:
    """The absolute path of a file, or its URI. Raises SourceError unless it is a readable file with content."""
    if is_uri(name):
        if state(name).size == 0:
            raise SourceError(f"{name}: is empty; there is no story in it.")
        return name
    path = Path(name)
    try:
        found = path.stat()
    except FileNotFoundError:
        raise SourceError(f"{name}: no such file.") from None
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        raise SourceError(f"{name}: cannot be read: {getattr(problem, 'strerror', None) or problem}.") from None
    if stat.S_ISDIR(found.st_mode):
        raise SourceError(f"{name}: is a folder. Name the file (or files) in it.")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{name}: may not be read. Change its permissions (chmod u+r), or name another file.")
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise SourceError(f"{name}: is empty; there is no story in it.")
    return str(path.absolute())


def _unpacked(source: str, origin: str, packed: str, target: Path) -> Path:
    if target.exists():
        return target
    try:
        with write_file(target) as aside, pa.CompressedInputStream(open_file(origin), packed) as stream:
            _copy(stream, aside)
    except (OSError, pa.ArrowException) as problem:
        if getattr(problem, "errno", None):  # a fault of the disk, not of the content
            raise
        raise SourceError(f"{source}: not {packed}, or cut off: {problem}. Download it again.") from None
    if target.stat().st_size == 0:
        raise SourceError(f"{source}: is empty once unpacked; there is no story in it.")
    return target


def _copied(source: str, target: Path) -> Path:
    """The whole content of a pipe."""
    name = "stdin" if source == STDIN else source
    try:
        with write_file(target) as aside:
            if source == STDIN:
                _copy(sys.stdin.buffer, aside)
            else:
                with Path(source).open("rb") as stream:
                    _copy(stream, aside)
    except (AttributeError, ValueError):  # stdin is closed
        raise SourceError(f"{name}: is closed; there is no story in it.") from None
    if target.stat().st_size == 0:
        raise SourceError(f"{name}: is empty; there is no story in it.")
    return target


def _copy(stream: IO[bytes] | Any, aside: Path) -> None:
    with aside.open("wb") as handle:
        shutil.copyfileobj(stream, handle, _PIECE)


def _kind_by_content(path: Path) -> tuple[str, str | None]:
    """(kind, compression) of data from a pipe, by its first bytes."""
    with path.open("rb") as handle:
        first = handle.read(16)
    if packed := PACKED.get(ending_of(first) or ""):
        return "text", packed
    for kind, known in SOURCES.items():
        if known.magic and first.startswith(known.magic):
            return kind, None
    return ("jsonl" if first_bytes(str(path))[:1] in (b"{", b"[") else "text"), None
