"""Perplexity and loss from log-probabilities, over whole stories and over the talk's first 256 tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

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
    """Nats per token; `logprobs` holds one array per story. None where there is no token."""
    tokens = sum(len(story) for story in logprobs)
    return -math.fsum(float(story.sum(dtype="f8")) for story in logprobs) / tokens if tokens else None


def first_loss(logprobs: Sequence[NDArray[Any]], context: int = 256) -> float | None:
    """The loss of the first `context` tokens of each story (the first of them is given, so context - 1 are scored)."""
    return loss([story[: context - 1] for story in logprobs])


def perplexity(logprobs: Sequence[NDArray[Any]]) -> float | None:
    """exp of the loss."""
    mean = loss(logprobs)
    return None if mean is None else math.exp(mean)
