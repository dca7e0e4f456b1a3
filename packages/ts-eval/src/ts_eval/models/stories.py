"""Adapter for a file of finished stories: .txt separated by <|endoftext|>, or .jsonl with a field `story` or `text`, as the judge reads them."""

from pathlib import Path

from ..errors import ArtefactError
from ..judge.files import read_stories
from .adapter import ModelAdapter
from .checked import without_surrogates


def open_stories(spec: str) -> ModelAdapter:
    """The stories of a file, named after it. Raises ArtefactError that names the line that is wrong."""
    path = Path(spec)
    stories = [story.text for story in read_stories(path) if story.text.strip()]
    if not stories:
        raise ArtefactError(f"{path}: holds no story.")
    adapter = ModelAdapter(path.stem, "stories", spec)
    adapter.stories = without_surrogates(adapter, stories)
    return adapter
