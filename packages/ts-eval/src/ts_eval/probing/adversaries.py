"""Models that know no grammar, as a check of the pairs: length, unigrams and trigrams of the training stories.

A phenomenon where one of them scores above chance can be solved without what the phenomenon is about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..ngrams import Trigrams
from .grammar import tokens


def length(text: str) -> float:
    """Score that prefers the shorter sentence."""
    return -float(len(text))


class NGrams(Trigrams):
    """Unigram and trigram model of stories, over the words of the pairs."""

    def __init__(self, stories: Iterable[str], texts: Sequence[str]) -> None:
        super().__init__(map(tokens, stories), sorted({word for text in texts for word in tokens(text)}))

    def unigram(self, text: str) -> float:
        """Natural log-probability of the words, each by itself."""
        return math.fsum(math.log(self.share(word)) for word in self.ids(tokens(text)))

    def trigram(self, text: str) -> float:
        """Natural log-probability of the sentence as a whole story."""
        return math.fsum(self.logprobs(tokens(text)))
