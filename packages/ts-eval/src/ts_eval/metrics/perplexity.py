"""Bits per byte, perplexity and loss from log-probabilities, over whole stories and over the first tokens of each (256 in the talk)."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .base import Ratio, ScoredStories, ScoreMetric, described


def loss(logprobs: Sequence[NDArray[Any]]) -> float | None:
    """Nats per token; `logprobs` holds one array per story. None without a token. ConfigError for NaN and infinity."""
    stories = _checked(logprobs)
    tokens = sum(len(story) for story in stories)
    return -math.fsum(float(story.sum(dtype="f8")) for story in stories) / tokens if tokens else None


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


def _per_token(scored: ScoredStories, tokens: int | None = None, *, exp: bool = False) -> Ratio:
    """Negative log-likelihood per token; of the first `tokens` of each story, of which the first is not scored."""
    stories = [story if tokens is None else story[: tokens - 1] for story in scored.logprobs]
    return Ratio([-float(story.sum(dtype="f8")) for story in stories], [float(len(story)) for story in stories], exp=exp)


def _bits_per_byte(scored: ScoredStories) -> Ratio | None:
    """Comparable over vocabularies: includes the bits of `<unk>`, case and blanks (see ts_tokenizer)."""
    if scored.bits is None:
        return None
    nll = [-float(story.sum(dtype="f8")) for story in scored.logprobs]
    bits = [n / math.log(2) + float(b.sum()) for n, b in zip(nll, scored.bits, strict=True)]
    return Ratio(bits, [float(len(text.encode())) for text in scored.texts], per_story=True)


REPORTED = {
    "bits_per_byte": ScoreMetric(described("bits_per_byte"), _bits_per_byte),
    "perplexity": ScoreMetric(described("perplexity"), lambda scored: _per_token(scored, exp=True)),
    "first_loss": ScoreMetric(described("first_loss"), lambda scored: _per_token(scored, scored.context)),
    "loss": ScoreMetric(described("loss"), _per_token),
}
