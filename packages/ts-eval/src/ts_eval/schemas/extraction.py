"""Schema of extraction.json. Standard library and pydantic only."""

from typing import Literal

from .base import Frozen


class ExtractionPoint(Frozen):
    """The share of one group of stories that a model continues verbatim, with its 95 % interval (Wilson 1927)."""

    group: Literal["train", "canaries", "held-out", "controls"]
    times: int
    """Copies in the training split; 0 for held-out stories and controls."""
    prompt_words: int
    stories: int
    extracted: int
    share: float
    low: float
    high: float


class ExtractionModel(Frozen):
    """The curve of one model."""

    name: str
    parameters: int | None = None
    points: tuple[ExtractionPoint, ...]
    notes: tuple[str, ...] = ()


class ExtractionReport(Frozen):
    """What `ts-eval extraction` finds."""

    format: Literal["ts-eval/extraction"] = "ts-eval/extraction"
    schema_version: int = 1
    seed: int
    words: int
    """Words that the continuation must share with the story."""
    fingerprint: str
    """Of the splits."""
    models: tuple[ExtractionModel, ...]
    notes: tuple[str, ...] = ()
