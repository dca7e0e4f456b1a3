"""Predictability: bits per word of a story under a bigram model of the training stories' words."""

from weakref import WeakKeyDictionary

from ..index import StoryIndex
from ..ngrams import WordBigrams
from .base import StoryMetric, StorySet, described

FITTED = 10_000
"""Training stories that the bigram model is fitted on."""
_models: WeakKeyDictionary[StoryIndex, WordBigrams] = WeakKeyDictionary()


def _bits(stories: StorySet) -> list[float | None]:
    index = stories.index
    if index not in _models:
        texts = index.stories or ()
        _models[index] = WordBigrams(texts[i] for i in range(min(FITTED, len(texts))))
    return [_models[index].bits(text) for text in stories.texts]


REPORTED = {"bigram_bits": StoryMetric(described("bigram_bits"), _bits)}
