"""Statistics of reference stories: trigrams, words that occur together, how words are first mentioned.

Held-out reference stories give the scale of the features, so that estimates transfer between corpora.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, pstdev

from ...errors import ConfigError
from ...ngrams import Trigrams
from ...packaged import packaged_text

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[.!?,\"“”]")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*[\"”]?")
MAX_STORIES = 5_000
"""Further stories are ignored: they cost time and memory and hardly change the estimates."""

FUNCTION_WORDS = frozenset(packaged_text(__package__, "function_words.txt").split())


def words(text: str) -> list[str]:
    """Lower-case words and structural punctuation."""
    return [w.lower().replace("’", "'") for w in _WORD.findall(text)]


def sentences(text: str) -> list[str]:
    """Approximate sentences: text between full stops, exclamation marks, question marks or line breaks."""
    return [s.strip() for s in _SENTENCE.findall(text) if any(c.isalpha() for c in s)]


class _Words(Trigrams):
    """Trigrams of all words of some stories."""

    def __init__(self, stories: Sequence[str]) -> None:
        lines = [words(story) for story in stories]
        super().__init__(lines, sorted({word for line in lines for word in line}))

    def share(self, word: int) -> float:
        """The probability of a word by itself, a tenth of a count added."""
        kinds = len(self.one)
        return (self.one.get(word, 0) + kinds / (10 * (kinds + 1))) / (self.total + kinds)

    def bits(self, story: str) -> float:
        """Mean -log2 p per token, including the end of the story."""
        return -fmean(self.logprobs(words(story))) / math.log(2)

    def unknown(self, story: str) -> float:
        """Share of tokens that the reference does not contain."""
        tokens = words(story) or [""]
        return sum(w not in self.number for w in tokens) / len(tokens)


class Reference:
    """Counts over reference stories, and the features that use them."""

    def __init__(self, stories: Sequence[str]) -> None:
        stories = [s for s in stories if s.strip()][:MAX_STORIES]
        if len(stories) < 50:
            raise ConfigError(f"reference: {len(stories)} stories are too small a set; give at least 50.")
        self.sha256 = hashlib.sha256("\0".join(stories).encode("utf-8", "surrogatepass")).hexdigest()
        fitted = [s for i, s in enumerate(stories) if i % 10]
        self._trigrams = _Words(fitted)
        self._count(fitted)
        raw = [self._raw(story) for story in stories[::10][:200]]
        self._scale = {name: (fmean(r[name] for r in raw), pstdev([r[name] for r in raw]) or 1.0) for name in raw[0]}

    def describe(self, story: str) -> dict[str, float]:
        """Difference from the mean of held-out reference stories, in their standard deviations, clipped to ±8."""
        return {
            name: max(-8.0, min(8.0, (value - self._scale[name][0]) / self._scale[name][1]))
            for name, value in self._raw(story).items()
        }

    def _count(self, stories: Sequence[str]) -> None:
        counts = Counter(w for story in stories for w in words(story))
        self._content = {w for w, n in counts.items() if n >= 8 and w.isalpha() and w not in FUNCTION_WORDS}
        self._n, self._documents = len(stories), Counter[str]()
        self._pairs = Counter[tuple[str, str]]()
        self._first, self._first_the = Counter[str](), Counter[str]()
        for story in stories:
            first = self._first_mentions(story)
            self._documents.update(first)
            self._first.update(first)
            self._first_the.update(w for w, definite in first.items() if definite)
            present = sorted(first)
            self._pairs.update((a, b) for i, a in enumerate(present) for b in present[i + 1 :])

    def _first_mentions(self, story: str) -> dict[str, bool]:
        """Content word → whether `the` precedes its first mention."""
        tokens, first = words(story), dict[str, bool]()
        for before, word in zip(["", *tokens], tokens, strict=False):
            if word in self._content and word not in first:
                first[word] = before == "the"
        return first

    def _raw(self, story: str) -> dict[str, float]:
        rows = [words(s) for s in sentences(story)] or [["."]]
        support, late = self._support(rows)
        surprise = sum(
            -math.log((self._first_the[w] + 0.5) / (self._first[w] + 2)) for w, the in self._first_mentions(story).items() if the
        )
        return {
            "bits per word": self._trigrams.bits(story),
            "unknown words": self._trigrams.unknown(story),
            "things taken as known": surprise / len(rows),
            "new words that fit": fmean(support) if support else 0.0,
            "late new words that fit": fmean(late) if late else 0.0,
        }

    def _support(self, rows: list[list[str]]) -> tuple[list[float], list[float]]:
        """For each content word first mentioned after two sentences: mean association with its three best earlier words."""
        seen: set[str] = set()
        support, late = [], []
        for i, row in enumerate(rows):
            for word in row:
                if word not in self._content or word in seen:
                    continue
                if i >= 2 and seen:
                    best = sorted((self._association(word, other) for other in seen), reverse=True)[:3]
                    support.append(fmean(best))
                    if i > 0.6 * len(rows):
                        late.append(support[-1])
                seen.add(word)
        return support, late

    def _association(self, a: str, b: str) -> float:
        """Pointwise mutual information within a story, smoothed by one."""
        pair = (a, b) if a < b else (b, a)
        return math.log((self._pairs[pair] + 1) / (self._documents[a] * self._documents[b] / self._n + 1))
