"""Finds raw stories and reads them block by block into Arrow batches (column `text`; `cut` marks a truncated end).

A plan cuts every input into blocks of about 16 MB at places that depend on the input alone, so that any number of
workers reads the same blocks. Nothing is cleaned here. What cannot be cut (a pipe, gzip, zstd, CSV, a Hub data set)
is first laid down by `_spool`.
"""

from __future__ import annotations

import itertools
import json
import os
import stat
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..arrow import fixed, strings
from ..errors import SourceError
from ..schemas import PrepareConfig, Role
from .encoding import line_of, misnamed, not_utf8
from .separators import lines_like_separators
from .storage import is_uri, open_file, state

__all__ = ["Bad", "Block", "Input", "column_of", "existing", "inner_path", "plan", "read_block", "stop"]

BLOCK = 1 << 24
"""Bytes of raw text per block: large enough to work in bulk, small enough for eight workers in 2 GiB."""

PIECE = 1 << 21
"""Bytes of raw text read and cleaned together."""

ROWS = 1 << 11
"""The same for Parquet, in stories."""

_WINDOW = 1 << 16
"""Bytes looked at together in search of a separator: few stories are longer."""

LONGEST = 1 << 26
"""Bytes without a separator after which a text file counts as one that has none."""


@dataclass(frozen=True)
class Input:
    """One raw file that can be cut into blocks."""

    name: str
    """What the user called it; stands in the manifest."""
    path: str
    """Where it lies (a path or a URI), or where it was laid down."""
    origin: str
    """The file as the user has it: its hash stands in the manifest."""
    kind: str
    """text, jsonl or parquet."""
    role: Role
    """What its stories are for; see `SourceInfo.role`."""
    unit: str = "line"
    """What errors count in a JSONL file: a line, or an entry of the JSON list that it was made of."""
    skipped: int = 0
    """Rows that could not be read when the file was laid down (a CSV's)."""


@dataclass(frozen=True)
class Block:
    """A piece of an input: bytes [start, end) of a text or JSONL file, row groups [start, end) of a Parquet file."""

    input: Input
    start: int
    end: int
    last: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON, to be sent to a worker."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Block:
        """From `to_dict`."""
        return cls(**{**content, "input": Input(**content["input"])})


def existing(name: str) -> str:
    """The place of a raw file, after a look at it: that it is a file, and not empty."""
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


def plan(source: Input, config: PrepareConfig) -> list[Block]:
    """Cut an input into blocks."""
    if source.kind == "parquet":
        return _plan_parquet(source, config)
    mark = b"\n" if source.kind == "jsonl" else config.separator.encode()
    cuts = [0, *_cuts(source, mark)]
    return [Block(source, a, b, b == cuts[-1]) for a, b in itertools.pairwise(cuts)]


def _cuts(source: Input, mark: bytes) -> Iterator[int]:
    """Ends of blocks: after the first mark that begins at or behind each multiple of BLOCK; last, the file's end."""
    with open_file(source.path) as handle:
        size = handle.size()
        if source.kind == "text" and _find(handle, mark, 0, min(size, LONGEST)) < 0:
            first = handle.read_at(min(size, _WINDOW), 0).decode("utf-8", "replace")
            raise misnamed(source.name, source.path) or SourceError(
                f"{source.name}: the separator {mark.decode()!r} stands nowhere in it{_perhaps(first)}. Put it between the stories, "
                f"or name yours: --set 'separator=\"…\"'."
            )
        at = 0
        while at + BLOCK < size:
            found = _find(handle, mark, at + BLOCK, min(size, at + BLOCK + LONGEST))
            if found < 0:
                if size - at > LONGEST:
                    raise SourceError(f"{source.name}: no {mark.decode()!r} for {LONGEST >> 20} MB after byte {at + BLOCK:,}.")
                break
            at = found + len(mark)
            yield at
        if at < size:
            yield size


def _perhaps(text: str) -> str:
    found = lines_like_separators(text)
    return f" (but {found!r} does)" if found else ""


def _find(handle: pa.NativeFile, mark: bytes, start: int, end: int) -> int:
    """Where the mark first stands whole within bytes [start, end), or -1."""
    at = start
    while at < end:
        found: int = handle.read_at(min(_WINDOW + len(mark) - 1, end - at), at).find(mark)
        if found >= 0:
            return at + found
        at += _WINDOW
    return -1


def _plan_parquet(source: Input, config: PrepareConfig) -> list[Block]:
    try:
        file = pq.ParquetFile(open_file(source.path))
    except pa.ArrowInvalid as problem:
        raise SourceError(f"{source.name}: not a Parquet file: {problem}") from None
    metadata = file.metadata
    kind, name = _column_type(source, file.schema_arrow, config), config.text_column
    if not any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)):
        raise SourceError(
            f"{source.name}: the column {name!r} holds {kind}, text was expected. Name another: --set text_column=…"
        )
    blocks, start, size = [], 0, 0
    for group in range(metadata.num_row_groups):
        size += metadata.row_group(group).total_byte_size
        if size >= BLOCK or group == metadata.num_row_groups - 1:
            blocks.append(Block(source, start, group + 1, group == metadata.num_row_groups - 1))
            start, size = group + 1, 0
    if metadata.num_rows == 0:
        raise SourceError(f"{source.name}: has no rows; there is no story in it.")
    return blocks


def column_of(source: str, names: Sequence[str], config: PrepareConfig) -> str:
    """The column that holds the stories; of a column inside a struct (`meta.story`) the outer one."""
    for name in (config.text_column, config.text_column.partition(".")[0], "story"):
        if names.count(name) > 1:
            raise SourceError(f"{source}: has {names.count(name)} columns {name!r}. Rename all but one.")
        if name in names:
            return name
    raise SourceError(f"{source}: {_no_column(config.text_column, names)}")


def _no_column(wanted: str, names: Sequence[str]) -> str:
    known = f"there are: {', '.join(names)}" if names else "there is none at all"
    return f"no column {wanted!r}; {known}. Name it: --set text_column=…"


def inner_path(column: str, config: PrepareConfig) -> list[str]:
    """The names that lead from a column to the stories inside its structs; none where the column holds them itself."""
    outer, *inner = config.text_column.split(".")
    return inner if column == outer and column != config.text_column else []


def _column_type(source: Input, schema: pa.Schema, config: PrepareConfig) -> pa.DataType:
    """The type of what holds the stories, inside structs, too."""
    column = column_of(source.name, schema.names, config)
    kind = schema.field(column).type
    for name in inner_path(column, config):
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            raise SourceError(
                f"{source.name}: no column {config.text_column!r}; {column!r} is {kind}. Name it: --set text_column=…"
            )
        kind = kind.field(name).type
    return kind


# --- reading -----------------------------------------------------------------------------------

Bad = Callable[[SourceError], None]
"""What is done with a story that cannot be read: raise its error, or count it."""


def stop(problem: SourceError) -> None:
    """Raise the error of the first story that cannot be read."""
    raise problem


def read_block(block: Block, config: PrepareConfig, bad: Bad = stop) -> Iterator[pa.RecordBatch]:
    """The stories of a block as they stand in the file, in batches of about `PIECE` bytes: what is at work fits the caches."""
    for texts, cut in _READERS[block.input.kind](block, config, bad):
        flags = np.zeros(len(texts), bool)
        flags[-1:] = cut
        yield pa.record_batch([texts, fixed(flags)], ["text", "cut"])


_Texts = Iterator[tuple[pa.Array, bool]]
"""Texts of stories, and whether the last of them is cut."""


def _pieces(block: Block, mark: bytes) -> Iterator[tuple[int, list[bytes], bytes]]:
    """What stands between the marks, some of it at a time: (its place in the file, the parts before a mark, what follows the last).

    What follows the last mark of a piece begins the next one; behind the last piece it is the end of the block.
    """
    with open_file(block.input.path) as handle:
        place, rest = block.start, b""
        for at in range(block.start, block.end, PIECE):
            rest += handle.read_at(min(PIECE, block.end - at), at)
            *parts, rest = rest.split(mark)
            if block.end - at <= PIECE:
                yield place, parts, rest
            elif parts:
                yield place, parts, b""
            place += sum(map(len, parts)) + len(parts) * len(mark)


def _read_text(block: Block, config: PrepareConfig, bad: Bad) -> _Texts:
    mark = config.separator.encode()
    for place, parts, rest in _pieces(block, mark):
        cut = bool(rest.strip()) and block.last
        if cut:
            parts.append(rest)
        bom = len(BOM_UTF8) if place == 0 and parts and parts[0].startswith(BOM_UTF8) else 0
        parts[:1] = [part[bom:] for part in parts[:1]]
        texts = strings(parts)
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            texts = strings(_decodable(parts, block.input, bad))
            cut = cut and len(texts) > 0
        yield texts, cut


def _decodable(parts: Sequence[bytes], source: Input, bad: Bad) -> list[bytes]:
    """The parts that are UTF-8; each other one is bad."""
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


def _read_jsonl(block: Block, config: PrepareConfig, bad: Bad) -> _Texts:
    for place, lines, rest in _pieces(block, b"\n"):
        texts, at = [], place
        for line in [*lines, rest]:
            if line.strip():
                try:
                    texts.append(_story_of(line, at, block.input, config))
                except SourceError as problem:
                    bad(problem)
            at += len(line) + 1
        yield strings(texts), False


def _story_of(line: bytes, at: int, source: Input, config: PrepareConfig) -> bytes:
    """The story in a line that begins at byte `at`."""

    def fault(text: str) -> SourceError:
        return SourceError(f"{source.name}, {source.unit} {line_of(source.path, at):,}: {text}")

    try:
        row = json.loads(line.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError:
        raise not_utf8(source.name, source.path) or fault("not UTF-8.") from None
    except RecursionError:
        raise fault("nested too deeply. Mend or remove the line.") from None
    except ValueError as problem:
        reason = f"{problem.msg} at character {problem.colno}" if isinstance(problem, json.JSONDecodeError) else str(problem)
        raise fault(f"not JSON ({reason}). {_ONE_PER_LINE}") from None
    if isinstance(row, str):
        row = {config.text_column: row}
    if not isinstance(row, dict):
        raise fault(f"is neither an object nor a string. {_ONE_PER_LINE}")
    story = _value(row, config)
    if story is _MISSING:
        raise fault(_no_column(config.text_column, list(row)))
    if not isinstance(story, str):
        raise fault(f"the story is {_JSON_NAMES.get(type(story), 'no text')}, text was expected. Mend or remove the line.")
    try:
        return story.encode()
    except UnicodeEncodeError as problem:
        raise fault(f"holds half a character, {problem.object[problem.start]!r}. Mend or remove the line.") from None


_MISSING = object()


def _value(row: dict[str, Any], config: PrepareConfig) -> Any:
    """What stands under the key for stories, inside objects, too (`meta.story`); `_MISSING` where nothing does."""
    for path in ([config.text_column], config.text_column.split("."), ["story"]):
        found: Any = row
        for name in path:
            found = found.get(name, _MISSING) if isinstance(found, dict) else _MISSING
        if found is not _MISSING:
            return found
    return _MISSING


_ONE_PER_LINE = 'One story per line is expected, as {"text": "…"}, or one JSON list of such.'
_JSON_NAMES = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def _read_parquet(block: Block, config: PrepareConfig, bad: Bad) -> _Texts:
    file = pq.ParquetFile(open_file(block.input.path))
    name = column_of(block.input.name, file.schema_arrow.names, config)
    inner = inner_path(name, config)
    groups = list(range(block.start, block.end))
    try:
        for batch in file.iter_batches(ROWS, row_groups=groups, columns=[".".join([name, *inner])], use_threads=False):
            column = batch.column(0)
            for field in inner:
                column = pc.struct_field(column, field)
            column = column.cast(pa.large_string())
            column.validate(full=True)  # also that it is UTF-8
            yield (column.fill_null("") if column.null_count else column), False
    except (pa.ArrowException, OSError) as problem:
        reason = str(problem).splitlines()[0][:80]
        raise SourceError(f"{block.input.name}: damaged: {reason}. Make or download it again.") from None


_READERS: dict[str, Callable[[Block, PrepareConfig, Bad], _Texts]] = {
    "text": _read_text,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}
