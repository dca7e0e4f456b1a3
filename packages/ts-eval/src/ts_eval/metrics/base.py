"""The kinds of metrics: what each is computed from. Every metric carries its description, which the report and its page read.

The key of a value in report.json is `section.split.name`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..packaged import packaged_toml
from ..schemas import MetricInfo, Story

if TYPE_CHECKING:
    from ..index import StoryIndex


@dataclass(frozen=True)
class StorySet:
    """The stories that one model generated, the real held-out stories, and the index of the training stories."""

    texts: Sequence[str]
    real: Sequence[str]
    index: StoryIndex


@dataclass(frozen=True)
class Endings:
    """Completions of story beginnings, the true endings at the same places, and the index of the training stories."""

    completions: Sequence[str]
    references: Sequence[str]
    index: StoryIndex


@dataclass(frozen=True)
class ScoredStories:
    """Whole stories with their log-probabilities (natural), one array per story.

    `bits` [stories, 2] are the bits that the log-probabilities leave out (spelling of `<unk>`, case and blanks); None if unknown.
    `context` is the number of tokens of `first_loss`.
    """

    texts: Sequence[str]
    logprobs: Sequence[NDArray[Any]]
    bits: NDArray[np.float64] | None
    context: int


@dataclass(frozen=True)
class Ratio:
    """A mean as sum / sum over stories: `above` per `below`. `per_story`: the report also keeps each story's own ratio."""

    above: Sequence[float]
    below: Sequence[float]
    exp: bool = False
    per_story: bool = False


def described(name: str) -> MetricInfo:
    """How to read a number of this package, by numbers.toml."""
    return MetricInfo(**{"least": 0, **packaged_toml(__package__, "numbers.toml")[name]})


@dataclass(frozen=True)
class Metric:
    """A number of the report and how to read it. This base is for numbers that a section computes itself."""

    info: MetricInfo


@dataclass(frozen=True)
class StoryMetric(Metric):
    """Computed from the stories that a model generates: one number per story, or one for the set. Section `texts`."""

    compute: Callable[[StorySet], Sequence[float | None] | float | None]
    of_models: bool = False
    """Not computed for the real stories themselves."""
    of_spelling: bool = False
    """Not computed for a model that writes whole words of its vocabulary: it says nothing about it."""


@dataclass(frozen=True)
class EndingMetric(Metric):
    """Computed from completions and their references, one number per pair."""

    compute: Callable[[Endings], Sequence[float | None]]
    section: Literal["memorisation", "paper"] = "memorisation"


@dataclass(frozen=True)
class SearchMetric(Metric):
    """Computed from one generated story and the closest training stories. Section `overfitting`."""

    compute: Callable[[Story], float | None]


@dataclass(frozen=True)
class ScoreMetric(Metric):
    """Computed from log-probabilities of held-out stories; None if they do not allow it. Section `perplexity`."""

    compute: Callable[[ScoredStories], Ratio | None]
