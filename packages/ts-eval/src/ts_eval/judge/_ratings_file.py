"""ratings.jsonl, written and read: one `Rating` per line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ts_data.artefact import parse_model, write_file

from .._json_lines import json_lines
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
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ArtefactError(f"{path}: no such file. `ts-eval judge` writes it.") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise ArtefactError(f"{path}: not a ratings.jsonl.") from None
    return [_rating(content, place) for place, content in json_lines(text, path)]


def _rating(content: Any, place: str) -> Rating:
    if not isinstance(content, dict):
        raise ArtefactError(f"{place}: an object was expected.")
    return parse_model(content, Rating, source=place, package="tinystories-eval", error=ArtefactError)
