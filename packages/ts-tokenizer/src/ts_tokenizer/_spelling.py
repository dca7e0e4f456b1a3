"""A character model of the words behind `<unk>`: how many bits it takes to spell one. It sees single words, no context.

Interpolated Witten-Bell (Bell, Cleary & Witten 1990) over contexts of two, one and no characters, and last a
uniform choice among all code points, so that every string has a price.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from .schemas import SpellingSpec

__all__ = ["Spelling", "fit"]

END = "\x03"  # closes a word in the counts; a word that holds it is priced all the same
CODE_POINTS = 0x110000
ORDER = 2


def fit(words: Mapping[str, int]) -> SpellingSpec:
    """Count characters after contexts of up to two characters, each word as often as it occurs."""
    counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for word, times in words.items():
        for i, char in enumerate(word + END):
            for order in range(min(ORDER, i) + 1):
                counts[word[i - order : i]][char] += times
    return SpellingSpec(counts={context: dict(sorted(counts[context].items())) for context in sorted(counts)})


class Spelling:
    """Prices of words in bits, remembered."""

    def __init__(self, spec: SpellingSpec) -> None:
        self._counts = spec.counts
        self._totals = {context: sum(after.values()) for context, after in spec.counts.items()}
        self._known: dict[str, float] = {}

    def bits(self, word: str) -> float:
        """Bits to spell `word` and say that it ends."""
        price = self._known.get(word)
        if price is None:
            price = sum(-math.log2(self._probability(word, i)) for i in range(len(word) + 1))
            self._known[word] = price
        return price

    def _probability(self, word: str, i: int) -> float:
        char = word[i] if i < len(word) else END
        probability = 1.0 / CODE_POINTS
        for order in range(min(ORDER, i) + 1):
            after = self._counts.get(word[i - order : i])
            if after is None:
                break
            kinds, total = len(after), self._totals[word[i - order : i]]
            probability = (after.get(char, 0) + kinds * probability) / (total + kinds)
        return probability
