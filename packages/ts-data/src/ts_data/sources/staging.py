"""Makes a cuttable file of every kind of source: what is one already stays where it is, the rest is laid down in a work folder.

gzip, zstd and bzip2 are unpacked, a pipe is copied, a JSON list becomes JSON lines, CSV and Hub data sets become Parquet: all in
pieces, none in memory.
"""

from __future__ import annotations

import errno
import json
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..artefact import write_file, write_text
from ..errors import SourceError, TsDataError
from ..schemas import PrepareConfig, Role
from . import csv as _csv
from .blocks import Input, column_of, existing, inner_path
from .encoding import check_encoding
from .json_list import entries
from .names import HUB, STDIN, is_stream, kind_of
from .quiet import silent
from .storage import open_file

__all__ = ["origin_of", "stage"]

_PIECE = 1 << 22
_ROWS = 8_192

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bz2"))
"""First bytes -> compression, for what comes through a pipe and has no name."""


def origin_of(source: str) -> str | None:
    """The file behind a source, looked at; None for a stream and a Hub data set."""
    return None if is_stream(source) or source.startswith(HUB) else existing(source)


def stage(source: str, role: Role, place: Callable[[str], Path], config: PrepareConfig) -> Input:
    """A source as a file that can be cut into blocks. `place` gives the path of a converted file for its suffix."""
    if source.startswith(HUB):
        made = _hub(source, place(".parquet"), config)
        return Input(name=source, path=str(made), origin=str(made), kind="parquet", role=role)
    if is_stream(source):
        made = _stream(source, place(""))
        origin, (kind, packed) = str(made), (_kind_by_content(made))
    else:
        origin = existing(source)
        kind, packed = kind_of(origin)
    path = origin
    if packed:
        path = str(_unpack(source, origin, packed, place(f".{kind}")))
        kind = _kind_by_content(Path(path))[0] if is_stream(source) else kind
    if kind != "parquet":
        check_encoding(source, path)
    if kind in ("csv", "tsv"):
        laid, skipped = _parquet_of_csv(source, path, kind == "tsv", place(".parquet"), config)
        return Input(name=source, path=str(laid), origin=origin, kind="parquet", role=role, skipped=skipped)
    if kind == "jsonl" and _first_bytes(path)[:1] == b"[":
        path = str(_lines_of_list(source, path, place(".entries.jsonl")))
        return Input(name=source, path=path, origin=origin, kind=kind, role=role, unit="entry")
    return Input(name=source, path=path, origin=origin, kind=kind, role=role)


def _unpack(source: str, origin: str, packed: str, target: Path) -> Path:
    if target.exists():
        return target
    try:
        with write_file(target) as aside, pa.CompressedInputStream(open_file(origin), packed) as stream:
            _copy(stream, aside)
    except (OSError, pa.ArrowException) as problem:
        if getattr(problem, "errno", None):  # the disk's own trouble, not the content's
            raise
        raise SourceError(f"{source}: not {packed}, or cut off: {problem}. Download it again.") from None
    if target.stat().st_size == 0:
        raise SourceError(f"{source}: is empty once unpacked; there is no story in it.")
    return target


def _stream(source: str, target: Path) -> Path:
    """The whole of a pipe."""
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
        while piece := stream.read(_PIECE):
            handle.write(piece)


def _first_bytes(path: str | Path) -> bytes:
    """The first bytes of a text file, behind its byte order mark and blanks."""
    with open_file(str(path)) as handle:
        first: bytes = handle.read(4096)
    return first.removeprefix(BOM_UTF8).lstrip()


def _kind_by_content(path: Path) -> tuple[str, str | None]:
    """(kind, compression) of what came through a pipe. JSON is known by its first character."""
    with path.open("rb") as handle:
        first = handle.read(4)
    for begin, packed in _MAGIC:
        if first.startswith(begin):
            return "text", packed
    if first == b"PAR1":
        return "parquet", None
    return ("jsonl" if _first_bytes(path)[:1] in (b"{", b"[") else "text"), None


# --- JSON lists --------------------------------------------------------------------------------


def _lines_of_list(source: str, path: str, target: Path) -> Path:
    """A JSON list as JSON lines, one entry each."""
    if target.exists():
        return target
    with open_file(path) as handle, write_file(target) as aside, aside.open("wb") as lines:
        for entry in entries(source, lambda: handle.read(_PIECE)):
            lines.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        if not lines.tell():
            raise SourceError(f"{source}: is an empty list; there is no story in it.")
    return target


# --- tables ------------------------------------------------------------------------------------


def _parquet_of_csv(source: str, path: str, tabs: bool, target: Path, config: PrepareConfig) -> tuple[Path, int]:
    """A CSV or TSV file as Parquet, and how many of its rows were left out."""
    note = target.with_suffix(".skipped.json")
    if target.exists() and note.exists():
        return target, int(json.loads(note.read_text(encoding="utf-8"))["skipped"])
    table = _csv.Table(source, path, tabs, config)
    _to_parquet(table.columns(), target)
    write_text(note, json.dumps({"skipped": table.skipped}))
    return target, table.skipped


def _hub(source: str, target: Path, config: PrepareConfig) -> Path:
    """`hub:owner/name`, `hub:owner/name:split` or `hub:owner/name@revision:split`, streamed."""
    if target.exists():
        return target
    try:
        import datasets
    except ImportError:
        raise TsDataError(f'{source}: needs the Hub libraries: pip install "ts-data[hub]"') from None
    name, _, split = source.removeprefix(HUB).partition(":")
    name, _, revision = name.partition("@")
    if not name:
        raise SourceError(f"{source}: names no data set. Write hub:OWNER/NAME.")
    try:
        with silent("huggingface_hub", "datasets", "fsspec"):
            rows = datasets.load_dataset(name, split=split or "train", revision=revision or None, streaming=True)
            first = next(iter(rows), None)
            if first is None:
                raise SourceError(f"{source}: has no rows; there is no story in it.")
            column = column_of(source, list(first), config)
            read = _reader(inner_path(column, config))
            texts = (pa.array([read(row) for row in batch[column]], pa.string()) for batch in rows.iter(batch_size=_ROWS))
            _to_parquet(texts, target)
    except TsDataError:
        raise
    except Exception as problem:  # the library raises its own, aiohttp's and the file system's errors
        if getattr(problem, "errno", None) == errno.ENOSPC:
            raise
        reason = next(iter(str(problem).splitlines()), type(problem).__name__)
        raise SourceError(f"{source}: cannot be read from the Hub: {reason}") from None
    return target


def _reader(inner: list[str]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        for name in inner:
            value = value[name]
        return value

    return read


def _to_parquet(columns: Iterator[pa.Array], target: Path) -> None:
    schema = pa.schema([("text", pa.string())])
    with write_file(target) as aside, pq.ParquetWriter(aside, schema, compression="lz4", use_dictionary=False) as writer:
        for column in columns:
            writer.write_batch(pa.record_batch([column], schema=schema))
