"""Where the judge may write: never over what it reads, nor over files of somebody else. Checked before anything is paid."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from .._places import local_paths
from ..errors import ConfigError

__all__ = ["check_output"]


def check_output(out: str | os.PathLike[str] | None, kind: str, others: Iterable[str | os.PathLike[str] | None]) -> None:
    """Refuse an `out` that is a folder, is one of the `others` (inputs, the store) or exists and is not of the format `kind`."""
    if out is None:
        return
    path = Path(out)
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; --out takes the name of a file.")
    if path.resolve() in local_paths(*others) or any(Path(o) == path for o in others if o is not None):
        raise ConfigError(f"{path}: is read by this command and would be overwritten; name another --out.")
    if path.is_file() and not _is(path, kind):
        raise ConfigError(f"{path}: is there and is none of {kind}; it is left alone. Name another --out.")


def _is(path: Path, kind: str) -> bool:
    """Whether a file is empty, or its JSON (its first line's, for JSON lines) names the format."""
    try:
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            return True
        content = json.loads(text.split("\n", 1)[0] if kind == "ts-eval/rating" else text)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == kind
