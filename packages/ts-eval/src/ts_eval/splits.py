"""Opens the splits/ folder of an evaluation. Errors name the command that writes the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .checks import need_path
from .errors import ArtefactError, ConfigError

MEND = "--data takes the splits/ folder that `ts-data prepare` writes."


@dataclass(frozen=True)
class Splits:
    """The stories of train and test, and the fingerprint that identifies them."""

    path: Path
    fingerprint: str
    train: Sequence[str]
    test: Sequence[str]


def open_splits(splits: str | os.PathLike[str]) -> Splits:
    """Open train and test. ArtefactError for another kind of folder or a damaged one, ConfigError for an empty split."""
    import ts_data

    path = need_path(splits, "splits")
    _check_kind(path)
    manifest = ts_data.open_manifest(path)
    absent = [name for name in ("train", "test") if name not in manifest.splits]
    if absent:
        raise ConfigError(
            f"{path}: has no {absent[0]} split; an evaluation needs train and test. Run `ts-data prepare` with --test."
        )
    train, test = ts_data.read(path, "train"), ts_data.read(path, "test")
    if not len(train) or not len(test):
        raise ConfigError(
            f"{path}: train has {len(train):,} and test {len(test):,} stories; an evaluation needs at least one of each. "
            "Run `ts-data prepare` on more stories, or with --test."
        )
    return Splits(path, manifest.fingerprint, train, test)


def _check_kind(path: Path) -> None:
    """Raise for a path that is not a splits/ folder; the message says what it is instead."""
    if path.is_file():
        raise ArtefactError(f"{path}: is a file; {MEND}")
    if not path.is_dir() or (path / "manifest.json").is_file():
        written = format_of(path / "manifest.json")
        if isinstance(written, str) and written != "ts-data/manifest":
            raise ArtefactError(f"{path}: is a folder of {written}; {MEND}")
        if path.is_dir():
            return
        raise ArtefactError(f"{path}: no such folder; {MEND}")
    inner = path / "splits"
    hint = f" Did you mean {inner}?" if (inner / "manifest.json").is_file() else ""
    kind = "a model folder" if (path / "config.json").is_file() else "no splits/ folder: it has no manifest.json"
    raise ArtefactError(f"{path}: is {kind}; {MEND}{hint}")


def format_of(file: Path) -> object:
    """The field `format` of a JSON file; None without one."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content.get("format") if isinstance(content, dict) else None
