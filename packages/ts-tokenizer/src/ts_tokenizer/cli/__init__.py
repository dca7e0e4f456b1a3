"""The command line: one module per command, each a thin layer over one Python call."""

from __future__ import annotations

import sys

from ts_data.console import make_app, run

from ..__about__ import __version__
from .check import check
from .compare import compare
from .coverage import coverage
from .encode import encode
from .stats import stats
from .train import train

app = make_app(
    "ts-tokenizer",
    "A word-level tokenizer on spaCy's English rules, with a learned detokenizer.",
    __version__,
)
for command in (train, encode, check, stats, coverage, compare):
    app.command()(command)


def main() -> None:
    """The console script."""
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # spaCy would import it if installed: 1.4 s
    run(app)
