"""By what the two folders of `prepare` are known; makes and clears the one for the work (`.<out>.ts-work`).

What is under way lies there, so that a run that was killed is gone on with. What the passes put into it is theirs to know.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._storage import state
from .errors import ConfigError
from .schemas import PrepareConfig

__all__ = ["OWNED", "SPLITS", "begin", "check", "clear"]

SPLITS = ("manifest.json", "ts-data/manifest")
"""By what a folder of splits is known, so that no other one is replaced: a file in it, and the file's format."""

OWNED = (
    "manifest.json",
    "README.md",
    "train.parquet",
    "train-[0-9]*-of-[0-9]*.parquet",
    "validation.parquet",
    "test.parquet",
    "removed.parquet",
)
"""Patterns of the files in a folder of splits; any other file in it is the user's."""

MARK = "identity.json"
"""By what a work folder is known; it tells the call that the folder belongs to."""


def check(work: Path) -> None:
    """Refuse a place where something else stands."""
    if work.exists() and not (work / MARK).is_file() and (not work.is_dir() or any(work.iterdir())):
        raise ConfigError(f"{work}: is there and is no work folder of ts-data; it is left alone. Name a new folder.")


def begin(work: Path, sources: Sequence[tuple[str, str, str | None]], config: PrepareConfig, *sizes: int) -> None:
    """Keep a work folder that an equal call left; clear away any other. What came through a pipe is never equal.

    `sources`: (name, role, the file behind it, if there is one). `sizes`: of the pieces in which the work is done.
    """
    marks: list[Any] = []
    for name, role, origin in sources:
        found = state(origin) if origin else None
        marks.append([name, str(origin), role, found.size if found else 0, found.changed if found else 0])
        if name == "-":
            marks.append(os.getpid())
    identity = json.dumps([marks, config.model_dump(mode="json"), *sizes], sort_keys=True)
    mark = work / MARK
    if not mark.exists() or mark.read_text(encoding="utf-8") != identity:
        clear(work)
        work.mkdir(parents=True)
        mark.write_text(identity, encoding="utf-8")


def clear(work: Path) -> None:
    """Remove the work folder. Killed in between, it is still known for one, and as nobody's, so that the rest is cleared next time."""
    if not work.is_dir():
        return
    (work / MARK).write_text("", encoding="utf-8")
    for entry in work.iterdir():
        if entry.name != MARK:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    shutil.rmtree(work, ignore_errors=True)
