"""Where an evaluation may write: never over its inputs or over files of somebody else. Checked before any work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ts_data import artefact

from .errors import ConfigError

__all__ = ["check_index_folder", "check_report_folder", "check_sweep_file", "local_paths"]

WRITTEN = ("report.json", "report.html", "stories.jsonl")
"""The files of a report."""


def local_paths(*values: Any) -> list[Path]:
    """The inputs that lie on this disk, by their real paths; names of models and objects are left out."""
    texts = [os.fspath(value).removeprefix("hf:") for value in values if isinstance(value, (str, os.PathLike))]
    # os.path: False for a name that is too long for a path, where Path.exists raises
    return [Path(text).resolve() for text in texts if text and "\0" not in text and os.path.exists(text)]  # noqa: PTH110


def check_report_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse a folder that is or lies in an input, that is of another kind, or whose files are not an earlier report's."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; the report needs a folder of its own.")
    if (out / "manifest.json").exists():
        raise ConfigError(f"{out}: holds something else (by its manifest.json); the report needs a folder of its own.")
    inputs = list(inputs)
    _refuse_inside(out, inputs)
    for name in WRITTEN:
        if (out / name).resolve() in inputs:
            raise ConfigError(f"{out / name}: is read by this evaluation and would be overwritten; name another --out.")
    present = [name for name in WRITTEN if (out / name).exists()]
    if present and not _is_format(out / "report.json", "ts-eval/report"):
        raise ConfigError(f"{out / present[0]}: is there and is no earlier report; it is left alone. Name another --out.")


def check_index_folder(place: Path, inputs: Iterable[Path]) -> None:
    """Refuse a folder for the index that is, holds or lies in an input, or that is of another kind."""
    inputs = list(inputs)
    _refuse_inside(place, inputs)
    real = place.resolve()
    for path in inputs:
        if path.is_relative_to(real):
            raise ConfigError(f"{place}: holds {path}, which this evaluation reads; name another folder for the index.")
    artefact.check_target(place, "index.json", "ts-eval/index", error=ConfigError)


def check_sweep_file(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse a folder, a file in an input, and a file that is no earlier sweep."""
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; --out takes the file to write, as {out / 'sweep.json'}.")
    _refuse_inside(out, inputs)
    if out.exists() and not _is_format(out, "ts-eval/sweep"):
        raise ConfigError(f"{out}: is there and is no earlier sweep; it is left alone. Name another --out.")


def _refuse_inside(out: Path, inputs: Iterable[Path]) -> None:
    real = out.resolve()
    for path in inputs:
        if real == path or (path.is_dir() and real.is_relative_to(path)):
            where = "is" if real == path else "lies in"
            raise ConfigError(f"{out}: {where} {path}, which this evaluation reads; name a folder outside of it.")


def _is_format(file: Path, wanted: str) -> bool:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == wanted
