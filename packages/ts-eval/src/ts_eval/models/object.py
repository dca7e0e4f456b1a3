"""Any object that generates: a LanguageModel, or somebody else's with `generate(prompts, **options)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from .base import Scored, Subject

__all__ = ["Stranger", "wrap"]


def wrap(thing: Any) -> Subject:
    """A Subject from a Subject, a LanguageModel, or an object with `generate` or `logprobs`."""
    if isinstance(thing, Subject):
        return thing
    if {"tokenizer", "encode_story", "model"} <= set(dir(thing)):
        from .ours import Ours

        return Ours(thing)
    if not callable(getattr(thing, "generate", None)) and not callable(getattr(thing, "logprobs", None)):
        raise ConfigError(f"{type(thing).__name__} has neither `generate(prompts, **options)` nor `logprobs(texts)`.")
    return Stranger(thing)


class Stranger(Subject):
    """Somebody else's model behind the two protocols of ts_models.protocols."""

    def __init__(self, thing: Any) -> None:
        super().__init__(str(getattr(thing, "name", type(thing).__name__)), "object")
        self.thing = thing

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str] | None:
        """The object's completions."""
        if not callable(getattr(self.thing, "generate", None)):
            return None
        written = list(self.thing.generate(list(prompts), **options))
        if len(written) != len(prompts):
            raise ConfigError(f"{self.name}: generate gave {len(written)} texts for {len(prompts)} prompts.")
        return written

    def score(self, texts: Sequence[str]) -> Scored | None:
        """The object's log-probabilities; they are taken to pay for every character, as a byte-level model's do."""
        if not callable(getattr(self.thing, "logprobs", None)):
            return None
        logprobs = [np.asarray(story, float) for story in self.thing.logprobs(list(texts))]
        return Scored(logprobs, np.zeros((len(texts), 2)))
