"""CSV and TSV files: finds delimiter, quoting and column, skips rows that do not fit, and converts them to Parquet."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import pyarrow as pa

from ..arrow import strings
from ..artefact import write_text
from ..errors import SourceError
from ..schemas import PrepareConfig
from .blocks import Format, Input, RawSource, column_of
from .encoding import not_utf8
from .storage import open_file

_ROWS = 4_096
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

    def columns(self) -> Iterator[pa.Array]:
        """The stories, a column of text for some rows at a time."""
        stories = self._stories()
        while some := list(islice(stories, _ROWS)):
            yield strings(some).cast(pa.string())

    def _stories(self) -> Iterator[bytes]:
        rows = self._rows()
        _, names = next(rows, (1, []))
        place = names.index(column_of(self._source, names, self._config))
        for line, row in rows:
            try:
                if len(row) != len(names):
                    raise self._fault(line, f"Expected {len(names)} columns, got {len(row)}")
                story = row[place].encode()
            except (SourceError, UnicodeEncodeError) as problem:
                if self._config.bad_lines == "stop":
                    raise not_utf8(self._source, self._path) or problem from None
                self.skipped += 1
            else:
                yield story

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """(first line, fields) of each row that is not blank; a byte that is not UTF-8 is a surrogate in them.

        Raises SourceError if a field continues after its closing quotation mark, or is never closed.
        """
        begin, longest = 1, csv.field_size_limit(_FIELD)
        try:
            with open_file(self._path) as handle, io.TextIOWrapper(handle, "utf-8-sig", "surrogateescape", newline="") as text:
                quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self._quotes else csv.QUOTE_NONE
                rows = csv.reader(text, delimiter=self._delimiter, quoting=quoting, strict=True)
                for row in rows:
                    if row:
                        yield begin, row
                    begin = rows.line_num + 1
        except csv.Error as problem:
            raise self._torn(str(problem), begin, rows.line_num) from None
        finally:
            csv.field_size_limit(longest)

    def _torn(self, problem: str, begin: int, line: int) -> SourceError:
        """The error for a row from line `begin` on that cannot be read to its end."""
        if "unexpected end" in problem:
            return SourceError(
                f"{self._source}, line {begin:,}: a quotation mark opens a field that never ends. Close the field."
            )
        if "expected after" not in problem:
            return self._fault(line, problem)
        row = f" (the row begins in line {begin:,})" if begin < line else ""
        return SourceError(
            f"{self._source}, line {line:,}: text follows a closing quotation mark{row}. Double the marks inside a quoted "
            f"field, as CSV does, or make it a .tsv file with tabs and no quoting."
        )

    def _fault(self, line: int, reason: str) -> SourceError:
        return SourceError(
            f"{self._source}, line {line:,}: not readable as {'TSV' if self._delimiter == chr(9) else 'CSV'}: {reason}. Mend that line, "
            f"or skip such lines: --set bad_lines=skip"
        )


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


def _is_quoted(head: str) -> bool:
    """Whether a TSV file quotes as CSV does: each field with a quotation mark is in marks and doubles those inside."""
    fields = [field for line in head.splitlines() for field in line.split("\t") if '"' in field]
    return any('""' in field[1:-1] for field in fields) and all(_QUOTED.fullmatch(field) for field in fields)
