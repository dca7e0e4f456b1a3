"""Bits per byte, and the bits to spell a word behind `<unk>`.

The speller is a character model of single words without context: interpolated Witten-Bell (Bell, Cleary & Witten 1990) over
contexts of two, one and no characters, with a uniform distribution over all code points last, so that every string has a
finite cost.
"""

import math
from collections import defaultdict
from collections.abc import Mapping

from .errors import ConfigError
from .schemas import SpellingSpec

END = "\x03"  # end of a word in the counts; a word that contains it still has a finite cost
CODE_POINTS = 0x110000
ORDER = 2


def fit_spelling(words: Mapping[str, int]) -> SpellingSpec:
    """Count the characters after contexts of up to two characters, weighted by word frequency."""
    counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for word, times in words.items():
        for i, char in enumerate(word + END):
            for order in range(min(ORDER, i) + 1):
                counts[word[i - order : i]][char] += times
    return SpellingSpec(counts={context: dict(sorted(counts[context].items())) for context in sorted(counts)})


class Spelling:
    """The cost of words in bits, cached."""

    def __init__(self, spec: SpellingSpec) -> None:
        self._counts = spec.counts
        self._totals = {context: sum(after.values()) for context, after in spec.counts.items()}
        self._known: dict[str, float] = {}

    def bits(self, word: str) -> float:
        """Bits to spell `word`, its end included."""
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


def bits_per_byte(nll_nats: float, *, utf8_bytes: int, unk_spelling_bits: float, restore_bits: float) -> float:
    """Return (model bits + bits to spell the words behind `<unk>` + bits to restore case and blanks) / UTF-8 bytes.

    Comparable across vocabularies; hiding words behind `<unk>` does not lower it.

    `nll_nats` is the sum of the negative log-likelihoods, in nats, over all tokens of whole stories, `<eos>` included;
    the other three come from the manifest or from `WordTokenizer.extra_bits` for the same stories.
    """
    sums = {"nll_nats": nll_nats, "unk_spelling_bits": unk_spelling_bits, "restore_bits": restore_bits, "utf8_bytes": utf8_bytes}
    for name, value in sums.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name}: {value!r} is not a sum of bits; expected a finite number >= 0.")
    if utf8_bytes <= 0:
        raise ConfigError("utf8_bytes: must be above 0; bits per byte are undefined without text.")
    return (nll_nats / math.log(2) + unk_spelling_bits + restore_bits) / utf8_bytes
