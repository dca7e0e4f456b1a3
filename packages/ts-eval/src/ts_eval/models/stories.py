"""A file of finished stories: .txt separated by <|endoftext|>, or .jsonl with a field `story` or `text`."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import ArtefactError
from .base import Subject

__all__ = ["open_stories", "read_stories"]


def open_stories(spec: str) -> Subject:
    """The stories of a file, named after it."""
    path = Path(spec)
    return Subject(path.stem, "stories", spec, stories=read_stories(path))


def read_stories(path: Path) -> list[str]:
    """Stories of a file; ArtefactError names the line that is wrong."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as problem:
        raise ArtefactError(f"{path}: not UTF-8 at byte {problem.start}.") from None
    stories = _lines(path, text) if path.suffix == ".jsonl" else [s.strip() for s in text.split("<|endoftext|>")]
    stories = [story for story in stories if story.strip()]
    if not stories:
        raise ArtefactError(f"{path}: holds no story.")
    return stories


def _lines(path: Path, text: str) -> list[str]:
    stories = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ArtefactError(f"{path}, line {number}: not JSON.") from None
        story = row.get("story", row.get("text")) if isinstance(row, dict) else None
        if not isinstance(story, str):
            raise ArtefactError(f"{path}, line {number}: has no field `story` (or `text`) that is a string.")
        stories.append(story)
    return stories
