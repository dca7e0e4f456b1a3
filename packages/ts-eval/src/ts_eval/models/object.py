"""Adapter for objects: a LanguageModel, or any object with `generate(prompts, **options)`."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from .adapter import ModelAdapter, Scored, TrainedOn

TAKEN = "its log-probabilities are taken to pay for every character; if its tokenizer loses any, its bits per byte are too low"


def adapt(thing: Any) -> ModelAdapter:
    """Wrap a LanguageModel or an object with `generate` or `logprobs`; returns a ModelAdapter unchanged."""
    if isinstance(thing, ModelAdapter):
        return thing
    if {"tokenizer", "encode_story", "model"} <= set(dir(thing)):
        from .language_model import LanguageModelAdapter

        return LanguageModelAdapter(thing)
    if isinstance(thing, type):
        raise ConfigError(f"{thing.__name__} is a class; pass an object of it.")
    if (
        {"forward", "state_dict", "config"} <= set(dir(thing))
        and not hasattr(thing, "logprobs")
        and not hasattr(thing, "tokenizer")
    ):
        raise ConfigError(
            f"{type(thing).__name__} is a network without a tokenizer; pass what ts_models.load gives, a model's folder, or an "
            "object whose generate takes texts."
        )
    if not callable(getattr(thing, "generate", None)) and not callable(getattr(thing, "logprobs", None)):
        raise ConfigError(f"{type(thing).__name__} has neither `generate(prompts, **options)` nor `logprobs(texts)`.")
    return ObjectAdapter(thing)


class ObjectAdapter(ModelAdapter):
    """A foreign object that follows the protocols of ts_models.protocols."""

    def __init__(self, thing: Any) -> None:
        super().__init__(str(getattr(thing, "name", type(thing).__name__)), "object")
        self.thing = thing
        self.trained_on = _trained_on(thing)

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str] | None:
        """The object's completions."""
        if not callable(getattr(self.thing, "generate", None)):
            return None
        written: Any = self.thing.generate(list(prompts), **options)
        if isinstance(written, (str, bytes)) or not isinstance(written, Iterable):
            raise ConfigError(
                f"{self.name}: generate gave one {type(written).__name__}; a list with one text per prompt is expected."
            )
        return list(written)

    def score(self, texts: Sequence[str]) -> Scored | None:
        """The object's log-probabilities, assumed to cover every character, as a byte-level model's do."""
        if not callable(getattr(self.thing, "logprobs", None)):
            return None
        try:
            logprobs = [np.asarray(story, float) for story in self.thing.logprobs(list(texts))]
        except (TypeError, ValueError) as problem:
            raise ConfigError(f"{self.name}: logprobs must give one array of numbers per text: {problem}.") from None
        return Scored(logprobs, np.zeros((len(texts), 2)), note=TAKEN)


def _trained_on(thing: Any) -> TrainedOn:
    """The object's own training record: its attributes `splits_fingerprint` and `train_stories`, if any."""
    splits, stories = getattr(thing, "splits_fingerprint", None), getattr(thing, "train_stories", None)
    hashes = None if stories is None else np.unique(np.asarray(stories))
    if hashes is not None and hashes.dtype != np.uint64:
        raise ConfigError(
            f"{type(thing).__name__}: train_stories must be uint64 hashes (ts_data.story_hashes), not {hashes.dtype}."
        )
    return TrainedOn(splits if isinstance(splits, str) else None, hashes)
