"""Predictability: bits per word of a story under a bigram model of the training stories' words."""

from weakref import WeakKeyDictionary

from ..index import StoryIndex
from ..ngrams import WordBigrams
from ..schemas import MetricInfo
from .base import StoryMetric, StorySet

FITTED = 10_000
"""Training stories that the bigram model is fitted on."""
_models: WeakKeyDictionary[StoryIndex, WordBigrams] = WeakKeyDictionary()


def _bits(stories: StorySet) -> list[float | None]:
    index = stories.index
    if index not in _models:
        texts = index.stories or ()
        _models[index] = WordBigrams(texts[i] for i in range(min(FITTED, len(texts))))
    return [_models[index].bits(text) for text in stories.texts]


REPORTED = {
    "bigram_bits": StoryMetric(
        MetricInfo(
            title="Surprise of the words",
            unit="bits per word",
            better="like real",
            description="Bits per word under a Kneser-Ney bigram model of the training stories: far above real stories for words in "
            "odd order, far below for text that repeats itself.",
            summary="texts",
        ),
        _bits,
    )
}
