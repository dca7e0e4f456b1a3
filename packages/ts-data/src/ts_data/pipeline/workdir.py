"""By what the two folders of `prepare` are known; makes and clears the one for the work (`.<out>.ts-work`).

What is under way lies there, so that a run that was killed is gone on with. What the passes put into it is theirs to know.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..schemas import PrepareConfig
from ..sources.storage import state

__all__ = ["FINISHED", "OWNED", "SPLITS", "begin", "check", "clear"]

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

FINISHED = "finished"
"""The folder in the work folder that holds the splits until they are uploaded."""

MARK = "identity.json"
"""By what a work folder is known; it tells the call that the folder belongs to."""

FORMAT = "ts-data/work"

_PARTS = ("input-*", "block-*", "hash-*", "group-*", "assignment*", FINISHED, f".{FINISHED}.ts-*", ".*.ts-*")
"""Patterns of what the passes put into a work folder; anything else in it is the user's."""


def check(work: Path) -> None:
    """Refuse a place where something else stands."""
    if work.exists() and not _is_ours(work) and (not work.is_dir() or any(work.iterdir())):
        raise ConfigError(f"{work}: is there and is no work folder of ts-data; it is left alone. Name a new folder.")


def _is_ours(work: Path) -> bool:
    try:
        content = json.loads((work / MARK).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def begin(work: Path, sources: Sequence[tuple[str, str, str | None]], config: PrepareConfig, *sizes: int) -> None:
    """Keep a work folder that an equal call left; clear away any other. What came through a pipe is never equal.

    `sources`: (name, role, the file behind it, if there is one). `sizes`: of the pieces in which the work is done.
    """
    marks: list[Any] = []
    for name, role, origin in sources:
        found = state(origin) if origin else None
        marks.append([name, str(origin), role, found.size if found else 0, found.changed if found else 0])
        if origin is None and not name.startswith("hub:"):
            marks.append(os.getpid())
    identity = json.dumps({"format": FORMAT, "call": [marks, config.model_dump(mode="json"), *sizes]}, sort_keys=True)
    mark = work / MARK
    if not mark.exists() or mark.read_text(encoding="utf-8") != identity:
        clear(work)
        work.mkdir(parents=True, exist_ok=True)
        mark.write_text(identity, encoding="utf-8")


def clear(work: Path) -> None:
    """Remove what the passes put into the work folder, and the folder itself where nothing else is in it.

    Killed in between, it is still known for one, and as nobody's, so that the rest is cleared next time.
    """
    if not work.is_dir() or not (work / MARK).is_file():
        return
    (work / MARK).write_text(json.dumps({"format": FORMAT}), encoding="utf-8")
    others = False
    for entry in work.iterdir():
        if entry.name == MARK:
            continue
        if not any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in _PARTS):
            others = True
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not others:
        shutil.rmtree(work, ignore_errors=True)
