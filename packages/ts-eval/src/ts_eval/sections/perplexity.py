"""Perplexity, loss and bits per byte on the test split, and the n-gram models on the same tokens."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ts_tokenizer import bits_per_byte

from ..metrics import ScoredStories, ScoreMetric, reported
from ..metrics.perplexity import loss
from ..models import ModelAdapter
from ..models.adapter import Scored
from ..models.checked import score
from ..ngrams import METHODS, BigramModel
from ..schemas import BaselineScore
from ..schemas.report import REFERENCE_STORIES
from ..stats import LARGEST, ratio
from ..texts import batches
from .base import Context, Section, computed

BATCH = 500
"""Stories scored per progress update."""


def run(adapter: ModelAdapter, context: Context) -> Section:
    """Every `ScoreMetric`, on whole held-out stories, and the n-gram baselines."""
    section = Section()
    texts = context.scored
    scored = _score(adapter, context, texts)
    if scored is None:
        if adapter.kind != "real":
            section.notes.append("gives no log-probabilities: perplexity is not measured")
        return section
    _measure(section, ScoredStories(texts, scored.logprobs, scored.bits, context.config.context), context)
    if scored.bits is not None:
        size = sum(len(text.encode()) for text in texts)
        section.bits_scale = (sum(map(len, scored.logprobs)) / size, float(scored.bits.sum()) / size)
    if scored.note:
        section.notes.append(scored.note)
    if adapter.encoder is None or scored.ids is None:
        section.notes.append("gives no token ids, so no n-gram models are fitted")
    section.baselines = _baselines(adapter, context, texts, scored)
    return section


def _measure(section: Section, stories: ScoredStories, context: Context) -> None:
    config = context.config
    for name, metric in reported(ScoreMetric).items():
        found, key = computed(name, metric.compute, stories), f"perplexity.test.{name}"
        if found is None:
            continue
        estimate = ratio(
            found.above, found.below, seed=config.seed, resamples=config.resamples, bounds=metric.info.bounds, exp=found.exp
        )
        section.estimates[key] = estimate
        if found.per_story:
            section.values[key] = [a / b for a, b in zip(found.above, found.below, strict=True)]
        if found.exp and estimate.mean is None and (mean := ratio(found.above, found.below).mean) is not None:
            section.notes.append(f"{name} is exp({mean:.0f}), more than a number can hold")


def _score(adapter: ModelAdapter, context: Context, texts: Sequence[str]) -> Scored | None:
    parts: list[Scored] = []
    for at in range(0, len(texts), BATCH):
        part = score(adapter, texts[at : at + BATCH])
        if part is None:  # of what gives no log-probabilities, no progress is shown
            return None
        parts.append(part)
        context.notify(f"{adapter.name}: perplexity", min(at + BATCH, len(texts)), len(texts))
    bits = [part.bits for part in parts if part.bits is not None]
    ids = [story for part in parts if part.ids is not None for story in part.ids]
    return Scored(
        [story for part in parts for story in part.logprobs],
        np.concatenate(bits) if len(bits) == len(parts) else None,
        ids or None,
        "; ".join(dict.fromkeys(part.note for part in parts if part.note)),
    )


def fit_baselines(encoder: Any, stories: Iterator[str], total: int, context: Context, name: str) -> BigramModel:
    """Fit the n-gram models on the training stories, in the ids of a tokenizer."""

    def ids() -> Iterator[NDArray[Any]]:
        done = 0
        for batch in batches(stories, BATCH):
            done += len(batch)
            context.notify(f"{name}: n-gram baselines", done, total)
            yield from encoder.encode_batch(batch, add_special_tokens=True)

    return BigramModel(ids(), encoder.vocab_size)


def _baselines(adapter: ModelAdapter, context: Context, texts: Sequence[str], scored: Scored) -> list[BaselineScore]:
    if adapter.encoder is None or scored.ids is None:
        return []
    key = getattr(adapter.encoder, "sha256", id(adapter.encoder))
    if key in context.fitted:
        return []
    limit = min(context.config.baseline_stories or len(context.train), len(context.train))
    chosen = iter(context.train) if limit == len(context.train) else (context.train[i] for i in range(limit))
    model = fit_baselines(adapter.encoder, chosen, limit, context, adapter.name)
    context.fitted.add(key)
    size = sum(len(text.encode()) for text in texts)
    made = []
    for method in METHODS:
        logprobs = model.logprobs(scored.ids, method)
        bits = None
        if scored.bits is not None:
            nll = -math.fsum(float(story.sum()) for story in logprobs)
            spelling, restore = scored.bits.sum(axis=0).tolist()
            bits = bits_per_byte(nll, utf8_bytes=size, unk_spelling_bits=spelling, restore_bits=restore)
        made.append(_baseline("n-gram", adapter.name, method, logprobs, bits))
    return made


def _baseline(
    kind: Literal["n-gram", "model"], model: str, name: str, logprobs: Sequence[NDArray[Any]], bits: float | None
) -> BaselineScore:
    mean = loss(logprobs) or 0.0
    return BaselineScore(
        kind=kind, model=model, name=name, loss=mean, perplexity=math.exp(min(mean, LARGEST)), bits_per_byte=bits
    )


def score_reference(adapter: ModelAdapter, context: Context) -> BaselineScore | None:
    """A reference model's score; None without log-probabilities."""
    texts = context.scored[:REFERENCE_STORIES]
    scored = _score(adapter, context, texts)
    if scored is None:
        return None
    stories = ScoredStories(texts, scored.logprobs, scored.bits, context.config.context)
    bits = reported(ScoreMetric)["bits_per_byte"].compute(stories)
    per_byte = None if bits is None else ratio(bits.above, bits.below).mean
    return _baseline("model", adapter.name, adapter.name, scored.logprobs, per_byte)
