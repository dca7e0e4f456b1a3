"""Makes a cuttable file of every kind of source: what is one already stays where it is, the rest is laid down in a work folder.

gzip and zstd are unpacked, a pipe is copied, CSV and Hub data sets become Parquet: all in pieces, none in memory.
"""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ._faults import not_utf8
from ._sources import KINDS, Input, column_of, existing
from ._storage import open_file
from .artefact import write_file
from .errors import SourceError, TsDataError
from .schemas import PrepareConfig

__all__ = ["HUB", "PACKED", "STDIN", "lay_down", "origin_of"]

STDIN = "-"
HUB = "hub:"
PACKED = {".gz": "gzip", ".zst": "zstd"}
_PIECE = 1 << 22
_ROWS = 8_192

Role = Literal["train", "test"]


def origin_of(source: str) -> str | None:
    """The file behind a source, looked at; None for stdin and a Hub data set."""
    return None if source == STDIN or source.startswith(HUB) else existing(source)


def lay_down(source: str, role: Role, number: int, work: Path, config: PrepareConfig) -> Input:
    """Input `number` as a file that can be cut into blocks."""
    origin = origin_of(source)
    if origin is None:
        make = _stdin if source == STDIN else _hub
        made = make(source, work / f"input-{number}", config)
        return Input(name=source, path=str(made), origin=str(made), kind=KINDS.get(made.suffix, "text"), role=role)
    name = Path(origin)
    packed = PACKED.get(name.suffix.lower())
    kind = KINDS.get((name.with_suffix("") if packed else name).suffix.lower(), "text")
    path: str | Path = origin
    if packed:
        path = _unpack(source, origin, packed, work / f"input-{number}.{kind}")
    if kind == "csv":
        path, kind = _csv(source, path, work / f"input-{number}.parquet", config), "parquet"
    return Input(name=source, path=str(path), origin=origin, kind=kind, role=role)


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


def _stdin(source: str, base: Path, config: PrepareConfig) -> Path:
    """The whole of stdin; JSON lines are known by their first character."""
    stream = sys.stdin.buffer
    first = stream.read(1)
    if not first:
        raise SourceError("stdin: is empty; there is no story in it.")
    target = base.with_suffix(".jsonl" if first == b"{" else ".txt")
    with write_file(target) as aside, aside.open("wb") as handle:
        handle.write(first)
        shutil.copyfileobj(stream, handle, _PIECE)
    return target


def _copy(stream: IO[bytes] | Any, aside: Path) -> None:
    with aside.open("wb") as handle:
        while piece := stream.read(_PIECE):
            handle.write(piece)


def _csv(source: str, path: str | Path, target: Path, config: PrepareConfig) -> Path:
    if target.exists():
        return target
    tabs = ".tsv" in Path(source).suffixes
    parse = pa.csv.ParseOptions(delimiter="\t" if tabs else ",", newlines_in_values=True)
    read = pa.csv.ReadOptions(block_size=_PIECE)
    try:
        with pa.csv.open_csv(open_file(str(path)), read_options=read, parse_options=parse) as reader:
            names = reader.schema.names
        column = column_of(source, names, config)
        convert = pa.csv.ConvertOptions(include_columns=[column], column_types={column: pa.string()}, strings_can_be_null=False)
        with pa.csv.open_csv(open_file(str(path)), read_options=read, parse_options=parse, convert_options=convert) as reader:
            _to_parquet((batch.column(0) for batch in reader), target)
    except pa.ArrowException as problem:
        reason = str(problem).splitlines()[0]
        raise not_utf8(source, str(path)) or SourceError(f"{source}: not readable as CSV: {reason}. Mend that line.") from None
    return target


def _hub(source: str, base: Path, config: PrepareConfig) -> Path:
    """`hub:owner/name`, `hub:owner/name:split` or `hub:owner/name@revision:split`, streamed."""
    target = base.with_suffix(".parquet")
    if target.exists():
        return target
    try:
        import datasets
    except ImportError:
        raise TsDataError(f'{source}: needs the Hub libraries: pip install "ts-data[hub]"') from None
    name, _, split = source.removeprefix(HUB).partition(":")
    name, _, revision = name.partition("@")
    try:
        rows = datasets.load_dataset(name, split=split or "train", revision=revision or None, streaming=True)
        first = next(iter(rows), None)
        if first is None:
            raise SourceError(f"{source}: has no rows; there is no story in it.")
        column = column_of(source, list(first), config)
        _to_parquet((pa.array(batch[column], pa.string()) for batch in rows.iter(batch_size=_ROWS)), target)
    except TsDataError:
        raise
    except Exception as problem:  # the library raises its own, aiohttp's and the file system's errors
        if getattr(problem, "errno", None) == errno.ENOSPC:
            raise
        raise SourceError(f"{source}: cannot be read from the Hub: {problem}") from None
    return target


def _to_parquet(columns: Iterator[pa.Array], target: Path) -> None:
    schema = pa.schema([("text", pa.string())])
    with write_file(target) as aside, pq.ParquetWriter(aside, schema, compression="lz4", use_dictionary=False) as writer:
        for column in columns:
            writer.write_batch(pa.record_batch([column], schema=schema))
