"""CSV and TSV files: finds delimiter, quoting and column, skips rows that do not fit, and converts them to Parquet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv

from ..artefact import write_text
from ..errors import SourceError
from ..schemas import PrepareConfig
from .blocks import Format, Input, RawSource, column_of
from .encoding import not_utf8
from .storage import open_file

_PIECE = 1 << 22
_LOOK = 1 << 18
"""Bytes at the beginning of a file by which its delimiter and its quoting are known."""

_FIELD = (1 << 31) - 1
"""Maximum number of characters in a field: the most that Python's csv takes on every platform."""

_DELIMITERS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"(?:[^"]|"")*"', re.DOTALL)


class Csv(Format):
    """A table with a header; the delimiter is found."""

    has_tabs = False

    def stage(self, raw: RawSource, config: PrepareConfig) -> Input:
        """Convert to Parquet, and count the rows that were skipped."""
        target, note = raw.place(".parquet"), raw.place(".skipped.json")
        if not (target.exists() and note.exists()):
            table = _Table(raw.name, raw.path, self.has_tabs, config)
            raw.as_parquet(table.columns())
            write_text(note, json.dumps({"skipped": table.skipped}))
        skipped = int(json.loads(note.read_text(encoding="utf-8"))["skipped"])
        return Input(raw.name, str(target), raw.origin, "parquet", raw.role, skipped=skipped)


class Tsv(Csv):
    """A table with tabs."""

    has_tabs = True


class _Table:
    """One file. `skipped` is the number of skipped rows once `columns` is exhausted."""

    def __init__(self, source: str, path: str, tabs: bool, config: PrepareConfig) -> None:
        self._source, self._path, self._config = source, path, config
        self.skipped = 0
        with open_file(path) as handle:
            head = handle.read(_LOOK).decode("utf-8-sig", "replace")
        self._delimiter = "\t" if tabs else delimiter_of(head, (config.text_column, "story"))
        self._quotes = not tabs or _is_quoted(head)
        if self._quotes:
            _check_quotes(source, path, self._delimiter)

    def columns(self) -> Iterator[pa.Array]:
        """The stories, a column of text for each piece of the file."""
        try:
            column = column_of(self._source, self._names(), self._config)
            skip = self._config.bad_lines == "skip"
            kind = pa.binary() if skip else pa.string()
            convert = pa.csv.ConvertOptions(include_columns=[column], column_types={column: kind}, strings_can_be_null=False)
            with self._open(convert) as reader:
                for batch in reader:
                    yield self._utf8(batch.column(0)) if skip else batch.column(0)
        except pa.ArrowException as problem:
            reason = str(problem).splitlines()[0]
            raise not_utf8(self._source, self._path) or SourceError(
                f"{self._source}: not readable as {'TSV' if self._delimiter == chr(9) else 'CSV'}: {reason}. Mend that line, "
                f"or skip such lines: --set bad_lines=skip"
            ) from None

    def _names(self) -> list[str]:
        """The names in the header. pyarrow reads some rows for them."""
        with self._open(None) as reader:
            names = list(reader.schema.names)
        self.skipped = 0
        return names

    def _open(self, convert: pa.csv.ConvertOptions | None) -> pa.csv.CSVStreamingReader:
        parse = pa.csv.ParseOptions(
            delimiter=self._delimiter,
            quote_char='"' if self._quotes else False,
            newlines_in_values=self._quotes,
            invalid_row_handler=self._invalid if self._config.bad_lines == "skip" else None,
        )
        read = pa.csv.ReadOptions(block_size=_PIECE)
        return pa.csv.open_csv(open_file(self._path), read_options=read, parse_options=parse, convert_options=convert)

    def _invalid(self, row: object) -> str:
        self.skipped += 1
        return "skip"

    def _utf8(self, column: pa.Array) -> pa.Array:
        """The rows that are UTF-8; the others are skipped."""
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            good = [value for value in column.to_pylist() if _decodes(value)]
            self.skipped += len(column) - len(good)
            return pa.array(good, pa.binary()).cast(pa.string())


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def delimiter_of(head: str, wanted: Sequence[str]) -> str:
    """The delimiter of a CSV file by its beginning: one that gives the header the wanted column, and every row as many fields."""
    found: list[tuple[bool, bool, int, str]] = []
    for delimiter in _DELIMITERS:
        rows = _rows(head, delimiter)
        if rows:
            has_column = any(name in rows[0] for name in wanted)
            found.append((has_column, all(len(row) == len(rows[0]) for row in rows), len(rows[0]), delimiter))
    return max(found, key=lambda item: item[:3], default=(False, False, 0, ","))[3]


def _rows(head: str, delimiter: str, limit: int = 100) -> list[list[str]]:
    """The first whole rows of a text; its last row may be cut."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) > limit:
                break
    except csv.Error:
        return rows
    return rows[:-1] if len(head) >= _LOOK // 4 and len(rows) > 1 else rows


def _check_quotes(source: str, path: str, delimiter: str) -> None:
    """Raise SourceError if a field continues after its closing quotation mark, or is never closed.

    pyarrow would drop the marks, or take all rows up to the next mark for one story.
    """
    begin, longest = 1, csv.field_size_limit(_FIELD)
    try:
        with open_file(path) as handle, io.TextIOWrapper(handle, "utf-8-sig", "replace", newline="") as text:
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            for _ in rows:
                begin = rows.line_num + 1
    except csv.Error as problem:
        if "unexpected end" in str(problem):
            raise SourceError(
                f"{source}, line {begin:,}: a quotation mark opens a field that never ends. Close the field."
            ) from None
        if "expected after" in str(problem):
            row = f" (the row begins in line {begin:,})" if begin < rows.line_num else ""
            raise SourceError(
                f"{source}, line {rows.line_num:,}: text follows a closing quotation mark{row}. Double the marks inside a quoted "
                f"field, as CSV does, or make it a .tsv file with tabs and no quoting."
            ) from None
    finally:
        csv.field_size_limit(longest)


def _is_quoted(head: str) -> bool:
    """Whether a TSV file quotes as CSV does: each field with a quotation mark is in marks and doubles those inside."""
    fields = [field for line in head.splitlines() for field in line.split("\t") if '"' in field]
    return any('""' in field[1:-1] for field in fields) and all(_QUOTED.fullmatch(field) for field in fields)
