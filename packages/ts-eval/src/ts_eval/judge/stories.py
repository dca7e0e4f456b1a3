"""Stories to be judged: JSON lines, `<|endoftext|>` files or sequences of strings. It judges nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._json_lines import json_lines
from ..errors import ArtefactError

__all__ = ["Story", "read_stories"]


@dataclass(frozen=True)
class Story:
    """A story, who wrote it (a model's name, `real`, or None), and ratings that the file already has for it."""

    text: str
    source: str | None = None
    ratings: tuple[dict[str, float], ...] = ()


def read_stories(source: str | os.PathLike[str] | Iterable[str | Story]) -> list[Story]:
    """Stories from a `.jsonl` file (`story` or `text`; optionally `model` or `source`), a text file, or an iterable.

    Raises ArtefactError with file and line.
    """
    if not isinstance(source, (str, os.PathLike)):
        return [s if isinstance(s, Story) else Story(s) for s in source]
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ArtefactError(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise ArtefactError(f"{path}: is a folder; a file of stories (.jsonl or .txt) was expected.") from None
    except UnicodeDecodeError as problem:
        raise ArtefactError(f"{path}: not UTF-8 at byte {problem.start}.") from None
    if path.suffix in {".jsonl", ".ndjson"}:
        rows = [(_row(value, place), place) for place, value in json_lines(text, path)]
        found = _merged([r for r, _ in rows]) if any("rater" in r for r, _ in rows) else [_story(r, where) for r, where in rows]
    else:
        found = [Story(part.strip()) for part in text.split("<|endoftext|>") if part.strip()]
    if not found:
        raise ArtefactError(f"{path}: holds no story.")
    return found


def _row(row: Any, where: str) -> dict[str, Any]:
    if isinstance(row, str):
        return {"story": row}
    if not isinstance(row, dict):
        raise ArtefactError(f"{where}: a JSON object or string was expected.")
    return row


def _merged(rows: list[dict[str, Any]]) -> list[Story]:
    """The lines of the rating page: the last line of each rater about a story counts, raters of a story stand together."""
    last = {(str(r.get("story")), str(r.get("rater"))): r for r in rows}
    stories: dict[str, Story] = {}
    for (text, _), row in last.items():
        story = _story(row, f"rating of {text[:30]!r}")
        before = stories.get(text, Story(text, story.source))
        stories[text] = Story(text, story.source, before.ratings + story.ratings)
    return list(stories.values())


def _story(row: dict[str, Any], where: str) -> Story:
    text = row.get("story") if isinstance(row.get("story"), str) else row.get("text")
    if not isinstance(text, str):
        raise ArtefactError(f"{where}: no field `story` or `text` with a string.")
    source = row.get("source") or row.get("model")
    return Story(text, source if isinstance(source, str) else None, _ratings(row, where))


def _ratings(row: dict[str, Any], where: str) -> tuple[dict[str, float], ...]:
    from pydantic import ValidationError

    from ..schemas import CATEGORIES, Scores

    raw = row.get("ratings", [row["rating"]] if row.get("rating") is not None else [])
    try:
        named = [dict(zip(CATEGORIES, r, strict=True)) if isinstance(r, list) else r for r in raw]
        return tuple(Scores.model_validate(r).model_dump() for r in named)
    except (ValidationError, ValueError, TypeError):
        raise ArtefactError(f"{where}: ratings must be six numbers from 1 to 10 ({', '.join(CATEGORIES)}).") from None
