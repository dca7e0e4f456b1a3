"""The pages as HTML: their Jinja templates, and tables that a reader can save as CSV."""

import base64
import csv
import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

WIDE = 8
"""From this number of columns on, a table lists the cells of a row below each other, as on a phone."""


@dataclass(frozen=True)
class Cell:
    """Text, smaller text below it, and a tooltip. `colour`: the number of a model, for its dot."""

    text: str
    small: str = ""
    tip: str = ""
    colour: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row names it. `words`: its cells are text, not numbers."""

    name: str
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    words: bool = False

    @property
    def stacked(self) -> bool:
        """Whether it has too many columns for a page."""
        return len(self.head) >= WIDE

    @property
    def csv(self) -> str:
        """The table as a data URI, which a browser saves as a file."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([_saved(" ".join(filter(None, (c.text, c.small)))) for c in row] for row in (self.head, *self.rows))
        return "data:text/csv;charset=utf-8;base64," + base64.b64encode(out.getvalue().encode("utf-8", "replace")).decode()


def _saved(text: str) -> str:
    """A cell of a CSV: what a spreadsheet would run as a formula (also `+` and `-` before anything but a number) begins with an apostrophe."""
    return f"'{text}" if text[:1] in set("=@\t\r") or re.match(r"[+-](?![\d.])", text) else text


def code(text: str) -> str:
    """A sentence whose `commands` stand between backticks, as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


@cache
def load_template(name: str, **filters: Callable[..., Any]) -> Any:
    """A template of ts_eval, by its path there. It escapes all text and fails on a name that is not defined."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ts_eval", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters, code=code)
    return environment.get_template(name)
