"""Perplexity and loss from log-probabilities, over whole stories and over the talk's first 256 tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import need_count
from ..errors import ConfigError
from ..schemas import MetricInfo

__all__ = ["INFO", "first_loss", "loss", "perplexity"]

INFO = {
    "loss": MetricInfo(
        title="Loss",
        unit="nats/token",
        better="lower",
        description="Mean negative log-likelihood of a token over whole stories. Depends on the vocabulary.",
    ),
    "first_loss": MetricInfo(
        title="Loss, first 256 tokens",
        unit="nats/token",
        better="lower",
        description="The talk's loss: the first 256 tokens of each story, mean over tokens.",
    ),
    "perplexity": MetricInfo(
        title="Perplexity", better="lower", description="exp of the loss over whole stories. Depends on the vocabulary."
    ),
}


def loss(logprobs: Sequence[NDArray[Any]]) -> float | None:
    """Nats per token; `logprobs` holds one array per story. None where there is no token. ConfigError for NaN and infinity."""
    stories = _checked(logprobs)
    tokens = sum(len(story) for story in stories)
    return -math.fsum(float(story.sum(dtype="f8")) for story in stories) / tokens if tokens else None


def first_loss(logprobs: Sequence[NDArray[Any]], context: int = 256) -> float | None:
    """The loss of the first `context` tokens of each story (the first of them is given, so context - 1 are scored)."""
    context = need_count(context, "context", 2)
    return loss([story[: context - 1] for story in _checked(logprobs)])


def perplexity(logprobs: Sequence[NDArray[Any]]) -> float | None:
    """exp of the loss; infinity where that is more than a float holds."""
    mean = loss(logprobs)
    try:
        return None if mean is None else math.exp(mean)
    except OverflowError:
        return math.inf


def _checked(logprobs: object) -> list[NDArray[Any]]:
    if isinstance(logprobs, (str, bytes)) or not isinstance(logprobs, Iterable):
        raise TypeError(f"logprobs: a list with one array per story is expected, not one {type(logprobs).__name__}.")
    stories = [np.asarray(story) for story in logprobs]
    for row, story in enumerate(stories):
        if story.ndim != 1 or story.dtype.kind not in ("f" if story.size else "fiu"):
            raise TypeError(f"logprobs[{row}]: an array of floats is expected, one per token. Pass one array per story.")
        if not np.isfinite(story).all():
            raise ConfigError(f"logprobs[{row}]: holds NaN or infinity, so the loss is no number. Check the model's weights.")
    return stories
