"""ratings.jsonl, written and read: one `Rating` per line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from ts_data.artefact import parse_model, write_file

from ..errors import ArtefactError
from ..schemas import Rating

__all__ = ["read_ratings", "write_ratings"]


def write_ratings(path: str | os.PathLike[str], ratings: Iterable[Rating]) -> None:
    """ratings.jsonl, one `Rating` per line, complete or not at all."""
    with write_file(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as handle:
        for rating in ratings:
            handle.write(json.dumps(rating.model_dump(mode="json"), ensure_ascii=False) + "\n")


def read_ratings(path: str | os.PathLike[str]) -> list[Rating]:
    """Read ratings.jsonl. Raises ArtefactError with file and line."""
    ratings = []
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise ArtefactError(f"{path}: no such file. `ts-eval judge` writes it.") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise ArtefactError(f"{path}: not a ratings.jsonl.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            raise ArtefactError(f"{path}, line {number}: not JSON; the file is damaged.") from None
        if not isinstance(content, dict):
            raise ArtefactError(f"{path}, line {number}: an object was expected.")
        ratings.append(
            parse_model(content, Rating, source=f"{path}, line {number}", package="tinystories-eval", error=ArtefactError)
        )
    return ratings
