"""Inputs, the blocks that they are cut into, and the base of the formats that read them.

A plan cuts an input into blocks of about 16 MB at positions that depend on the input alone, so that any number of workers reads the same
blocks. Nothing is cleaned here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..arrow import fixed
from ..artefact import write_file
from ..errors import SourceError
from ..schemas import PrepareConfig, Role
from . import load_format
from .storage import open_file

BLOCK = 1 << 24
"""Bytes of raw text per block: large enough to work in bulk, small enough for eight workers in 2 GiB."""

PIECE = 1 << 21
"""Bytes of raw text that are read and cleaned together, so that the data fit the caches."""

ROWS = 1 << 11
"""The same for Parquet, in stories."""


@dataclass(frozen=True)
class Input:
    """A raw file that can be cut into blocks."""

    name: str
    """As the user named it; the manifest holds it."""
    path: str
    """The file (a path or a URI), or the converted copy."""
    origin: str
    """The user's file; the manifest holds its hash."""
    kind: str
    """The kind of `path`: a key of SOURCES."""
    role: Role
    """What its stories are for; see `SourceInfo.role`."""
    unit: str = "line"
    """What errors count in a JSONL file: a line, or an entry of the JSON list that it was made of."""
    skipped: int = 0
    """Rows that could not be read when the file was converted (a CSV's)."""


@dataclass(frozen=True)
class Block:
    """A piece of an input: bytes [start, end) of a text or JSONL file, row groups [start, end) of a Parquet file."""

    input: Input
    start: int
    end: int
    last: bool
    size: int | None = None
    """Bytes of text, where `start` and `end` count something else."""


Bad = Callable[[SourceError], None]
"""Handles a story that cannot be read: raises its error, or counts it."""

Texts = Iterator[tuple[pa.Array, bool]]
"""(texts of stories as large_string, whether the end of the file cuts the last of them)."""


def stop(problem: SourceError) -> None:
    """Raise the error of the first story that cannot be read."""
    raise problem


# --- formats -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RawSource:
    """A source before it is an input: unpacked, on this machine if it came through a pipe."""

    name: str
    path: str
    origin: str
    kind: str
    role: Role
    place: Callable[[str], Path]
    """The path of a converted copy, for its suffix."""
    text_column: str = "text"
    """As `PrepareConfig.text_column`: a converted copy has the column under this name."""

    def as_is(self) -> Input:
        """The file itself as an input."""
        return Input(self.name, self.path, self.origin, self.kind, self.role)

    def as_parquet(self, columns: Iterator[pa.Array]) -> Path:
        """Write stories, arrays of strings, to a Parquet file that can be cut into blocks."""
        target, schema = self.place(".parquet"), pa.schema([(self.text_column, pa.string())])
        with (
            write_file(target) as aside,
            pq.ParquetWriter(aside.absolute(), schema, compression="lz4", use_dictionary=False) as writer,
        ):
            for column in columns:
                writer.write_batch(pa.record_batch([column], schema=schema))
        return target


class Format:
    """How a kind of source is read. A subclass overrides `plan` and `read`, or `stage` to convert the source to another kind."""

    is_text = True
    """The file is text: UTF-16 and UTF-32 are refused before it is read."""

    def stage(self, raw: RawSource, config: PrepareConfig) -> Input:
        """Return an input that can be cut into blocks: the source itself, or a copy at `raw.place`. An existing copy is whole."""
        return raw.as_is()

    def plan(self, source: Input, config: PrepareConfig) -> list[Block]:
        """Cut an input into blocks."""
        raise NotImplementedError

    def read(self, block: Block, config: PrepareConfig, bad: Bad) -> Texts:
        """Read the stories of a block in order."""
        raise NotImplementedError


def plan(source: Input, config: PrepareConfig) -> list[Block]:
    """Cut an input into blocks."""
    return load_format(source.kind).plan(source, config)


def read_block(block: Block, config: PrepareConfig, bad: Bad = stop) -> Iterator[pa.RecordBatch]:
    """The raw stories of a block in batches of about `PIECE` bytes (column `text`; `cut` marks a story that the file's end cuts)."""
    for texts, cut in load_format(block.input.kind).read(block, config, bad):
        flags = np.zeros(len(texts), bool)
        flags[-1:] = cut
        yield pa.record_batch([texts, fixed(flags)], ["text", "cut"])


# --- what several formats need -----------------------------------------------------------------


def pieces(block: Block, separator: bytes) -> Iterator[tuple[int, list[bytes], bytes]]:
    """Split the bytes of a block, some at a time: (position in the file, parts before a separator, the rest after the last).

    The rest is empty except after the last piece, where it is the end of the block.
    """
    with open_file(block.input.path) as handle:
        place, rest = block.start, b""
        for at in range(block.start, block.end, PIECE):
            rest += handle.read_at(min(PIECE, block.end - at), at)
            *parts, rest = rest.split(separator)
            if block.end - at <= PIECE:
                yield place, parts, rest
            elif parts:
                yield place, parts, b""
            place += sum(map(len, parts)) + len(parts) * len(separator)


def column_of(source: str, names: Sequence[str], config: PrepareConfig) -> str:
    """The column that holds the stories; of a column inside a struct (`meta.story`) the outer one."""
    for name in (config.text_column, config.text_column.partition(".")[0], "story"):
        if names.count(name) > 1:
            raise SourceError(f"{source}: has {names.count(name)} columns {name!r}. Rename all but one.")
        if name in names:
            return name
    raise SourceError(f"{source}: {no_column(config.text_column, names)}")


def no_column(wanted: str, names: Sequence[str]) -> str:
    known = f"there are: {', '.join(names)}" if names else "there is none at all"
    return f"no column {wanted!r}; {known}. Name it: --set text_column=…"


def inner_path(column: str, config: PrepareConfig) -> list[str]:
    """The names that lead from a column to the stories inside its structs; none if the column holds them itself."""
    outer, *inner = config.text_column.split(".")
    return inner if column == outer and column != config.text_column else []
