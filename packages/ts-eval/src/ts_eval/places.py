"""Checks of output paths, before any work: an evaluation never overwrites its inputs or foreign files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ts_data import artefact

from .errors import ConfigError
from .index.store import check_place
from .splits import format_of

WRITTEN = ("report.json", "report.html", "stories.jsonl")
"""The files of a report."""


def local_paths(*values: Any) -> list[Path]:
    """The resolved paths of the inputs on this disk; skips model names and objects."""
    texts = [os.fspath(value).removeprefix("hf:") for value in values if isinstance(value, (str, os.PathLike))]
    # os.path.exists returns False for a name that is too long, Path.exists raises
    return [Path(text).resolve() for text in texts if text and "\0" not in text and os.path.exists(text)]  # noqa: PTH110


def check_report_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Raise for a folder that is or lies in an input, is of another kind, or holds files that are not an earlier report's."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; the report needs a folder of its own.")
    if (out / "manifest.json").exists():
        raise ConfigError(f"{out}: holds another artefact (see its manifest.json); the report needs a folder of its own.")
    inputs = list(inputs)
    # A folder that holds its inputs is allowed: only the files of a report are written there.
    artefact.keep_apart(
        out, [path for path in inputs if not path.is_relative_to(out.resolve()) or path == out.resolve()], error=ConfigError
    )
    for name in WRITTEN:
        if (out / name).resolve() in inputs:
            raise ConfigError(f"{out / name}: is read by this evaluation and would be overwritten; name another --out.")
    present = [name for name in WRITTEN if (out / name).exists()]
    if present and format_of(out / "report.json") != "ts-eval/report":
        raise ConfigError(f"{out / present[0]}: is there and is no earlier report; it is left alone. Name another --out.")


def check_index_folder(place: Path, inputs: Iterable[Path]) -> None:
    """Raise for an index folder that is, holds or lies in an input, or is of another kind."""
    artefact.keep_apart(place, inputs, option="--index", error=ConfigError)
    check_place(place)


def writing(file: Path | None) -> AbstractContextManager[None]:
    """Lock an output file during the work for it; None locks nothing."""
    return nullcontext() if file is None else artefact.lock(file, error=ConfigError)


def check_sweep_file(out: Path, inputs: Iterable[Path]) -> None:
    """Raise for a folder, a file in an input, and a file that is not an earlier sweep."""
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; --out takes the file to write, as {out / 'sweep.json'}.")
    artefact.keep_apart(out, inputs, error=ConfigError)
    if out.exists() and format_of(out) != "ts-eval/sweep":
        raise ConfigError(f"{out}: is there and is no earlier sweep; it is left alone. Name another --out.")
