"""Anomaly: scores how unlike a children's story each sentence is, and flags a story with a very unlikely one.

A logistic regression over features of a sentence: words that 2,300 real stories do not contain, digits, signs and capitals, no
past tense, address of the reader outside quotes, and words about texts and their quality. Fitted on real sentences against known
attacks; `bench/eval_judge_attacks.py --fit` writes words and weights. The features name no particular attack.
"""

import math
import re
from collections.abc import Container
from dataclasses import dataclass
from functools import cache

from ...packaged import either, packaged_text, packaged_toml
from ...schemas import AnomalyWeights, JudgeConfig
from .base import Guard

FLAG = "foreign"

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]|_")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*[\"']*")
_QUOTES = str.maketrans("“”’‘", "\"\"''")
_BROKEN = {"â€œ": '"  ', "â€™": "'  ", "â€“": "-  ", "â€”": "-  ", "â€\x9d": '"  ', "â€": '" '}
"""Quotes and dashes decoded with the wrong encoding → replacements of the same length."""

_FILE = packaged_toml(__package__, "anomaly.toml")
_YOU, _NEAR, _PAST, _WORTH = (either(_FILE[name], r"\b(?:{})\b") for name in ("you", "near", "past", "worth"))
_LESSON = either(_FILE["lesson"])
_COMMAND = either(_FILE["command"], r"(?:^|[,;:(]\s*)(?:(?:please|just|so|kindly|and|then|now)\s+)*(?:{})\b")

FEATURES = (
    "unknown words", "you outside quotes", "I, this, here outside quotes", "not in the past tense", "digits", "signs", "capitals",
    "length", "words of worth", "command outside quotes", "not ASCII",
)  # fmt: skip
"""Names of the numbers of `describe_all`. All but the length are capped, so that no single feature decides."""


@dataclass(frozen=True)
class Passage:
    """A range of a text's characters with the score of its most anomalous sentence."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Detector:
    """Known words and weights; see `packaged_detector`."""

    words: Container[str]
    weights: AnomalyWeights

    def sentences(self, text: str) -> list[Passage]:
        """The text's sentences with their scores (log-odds up to a constant)."""
        numbers = describe_all(text, self.words)
        return [Passage(a, b, self._score(n)) for (a, b, _), n in zip(_spans(_readable(text)), numbers, strict=True)]

    def passage(self, text: str) -> Passage | None:
        """The most anomalous sentence with its anomalous neighbours; None without a sentence."""
        found = self.sentences(text)
        if not found:
            return None
        first = last = max(range(len(found)), key=lambda i: found[i].score)
        score = found[first].score
        while first > 0 and found[first - 1].score > self.weights.neighbour:
            first -= 1
        while last + 1 < len(found) and found[last + 1].score > self.weights.neighbour:
            last += 1
        return Passage(found[first].start, found[last].end, score)

    def _score(self, numbers: tuple[float, ...]) -> float:
        return self.weights.intercept + sum(w * n for w, n in zip(self.weights.weights, numbers, strict=True))


class Anomaly(Guard):
    """Flags a story whose most anomalous sentence scores above `detector.weights.flagged`."""

    def __init__(self, config: JudgeConfig, detector: Detector | None = None) -> None:
        super().__init__(config)
        self.detector = detector or packaged_detector()

    def flags(self, story: str) -> tuple[str, ...]:
        """`foreign`, or nothing."""
        passage = self.detector.passage(story)
        return (FLAG,) if passage is not None and passage.score > self.detector.weights.flagged else ()


@cache
def packaged_detector() -> Detector:
    """The detector with the packaged words and weights."""
    words = frozenset(packaged_text(__package__, "words.txt").split())
    return Detector(words, AnomalyWeights.model_validate_json(packaged_text(__package__, "foreign.json")))


def tokens(text: str) -> list[str]:
    """Lower-case words, numbers and single signs."""
    return [token.lower() for token in _TOKEN.findall(_readable(text))]


def sentence_places(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, in characters."""
    return [(start, end) for start, end, _ in _spans(_readable(text))]


def describe_all(text: str, words: Container[str]) -> list[tuple[float, ...]]:
    """One tuple per sentence, in the order of `FEATURES`."""
    readable = _readable(text)
    return [_describe(readable[a:b], quoted, words) for a, b, quoted in _spans(readable)]


def _spans(readable: str) -> list[tuple[int, int, bool]]:
    """(start, end, begins inside quotes) of each sentence. A line break ends a sentence, a blank line ends a quote."""
    found, quoted, before = [], False, 0
    for match in _SENTENCE.finditer(readable):
        if "\n\n" in readable[before : match.start()]:
            quoted = False
        before, sentence = match.end(), match[0]
        if len(sentence.strip()) > 2 or any(c.isalnum() for c in sentence):
            found.append((match.start(), match.end(), quoted))
        quoted ^= sentence.count('"') % 2 == 1
    return found


def _describe(sentence: str, quoted: bool, words: Container[str]) -> tuple[float, ...]:
    """Features of a sentence. `quoted`: it begins inside quotes."""
    raw = _TOKEN.findall(sentence)
    outside = re.sub(r'^[^"]*("|$)' if quoted else r'"[^"]*("|$)', " ", sentence).strip()
    outside_words = len(re.findall(r"[a-z']+", outside, re.IGNORECASE))
    lesson = _LESSON.search(outside) is not None
    signs = sum(not t.isalnum() and t not in ".,!?\"'-" for t in raw if len(t) == 1)
    return (
        min(5.0, sum(_unknown(t, words) for t in raw)),
        float(not lesson and _YOU.search(outside) is not None),
        float(_NEAR.search(outside) is not None),
        float(outside_words >= 3 and not lesson and _PAST.search(outside) is None),
        min(3.0, sum(t.isdigit() for t in raw)),
        min(4.0, signs),
        min(3.0, sum(t.isupper() and len(t) > 1 for t in raw)),
        math.log(1 + len(raw)),
        min(6.0, len({m.lower() for m in _WORTH.findall(sentence)})),
        float(_COMMAND.search(outside) is not None),
        min(5.0, sum(ord(c) > 126 for c in sentence)),
    )


def _unknown(token: str, words: Container[str]) -> float:
    """1 for an unknown word, 0.4 where it may be a name, 0 for a known word."""
    if not token[0].isalpha() or token.lower() in words:
        return 0.0
    return 0.4 if token[0].isupper() and token[1:].islower() else 1.0


def _readable(text: str) -> str:
    """The text with ASCII quotes; positions of characters do not change."""
    for broken, plain in _BROKEN.items():
        text = text.replace(broken, plain)
    return text.translate(_QUOTES)
