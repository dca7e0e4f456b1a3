"""Text features of a story, each with a fixed sign.

The sign is a prior. Weights fitted without it learn which model wrote a story (one writes paragraphs, another does not) and fail
on unseen models; with fixed signs they transfer (docs/performance/ts-eval-judge.md).
"""

import re
from collections import Counter
from itertools import pairwise
from statistics import fmean

from .reference import FUNCTION_WORDS, Reference, sentences, words

PLAIN: dict[str, int] = {
    "things not introduced": -1,
    "names said once": -1,
    "names that come late": -1,
    "main character still there": 1,
    "words repeated in a sentence": -1,
    "words that come back at once": -1,
    "things repeated in a sentence": -1,
    "odd quotes": -1,
    "ends whole": 1,
}
"""Feature → +1 if a larger value means a better story, else -1."""

WITH_REFERENCE: dict[str, int] = PLAIN | {
    "more surprising than real stories": -1,
    "more unknown words than real stories": -1,
    "things taken as known": -1,
    "new words that fit": 1,
    "late new words that fit": 1,
}

_TITLES = {"I", "Mom", "Dad", "Mommy", "Daddy", "Mrs", "Mr", "Grandma", "Grandpa"}
_SMALL = frozenset(["it", "its", "he", "she", "they", "him", "her", "them"])


def describe(story: str, reference: Reference | None = None) -> dict[str, float]:
    """Feature name → number, in the order of `PLAIN` or `WITH_REFERENCE`."""
    rows = sentences(story) or ["."]
    result = _introduced(story) | _names(story) | _repeated(story, rows)
    result["odd quotes"] = float(len(re.findall(r"[\"“”]", story)) % 2)
    result["ends whole"] = float(bool(re.search(r"[.!?][\"”']?\s*\Z", story)))
    if reference is not None:
        raw = reference.describe(story)
        result |= {
            "more surprising than real stories": max(0.0, raw.pop("bits per word")),
            "more unknown words than real stories": max(0.0, raw.pop("unknown words")),
            **raw,
        }
    wanted = PLAIN if reference is None else WITH_REFERENCE
    return {name: result[name] for name in wanted}


def _introduced(story: str) -> dict[str, float]:
    """Share of `the x` whose x has not occurred before."""
    seen: set[str] = set()
    definite = unknown = 0
    tokens = words(story)
    for a, b in pairwise(tokens):
        if a == "the" and b.isalpha() and b not in FUNCTION_WORDS:
            definite += 1
            unknown += b not in seen
        seen.add(b)
    return {"things not introduced": unknown / max(1, definite)}


def _names(story: str) -> dict[str, float]:
    """Names that occur once, names that first occur late, and whether the most frequent name occurs near the end."""
    tokens = re.findall(r"[A-Za-z']+|[.!?\"“”,]", story)
    lower = {t for t in tokens if t.islower()}
    inside = [b for a, b in zip([".", *tokens], tokens, strict=False) if re.fullmatch(r"[A-Z][a-z]+", b) and a not in '.!?"“”']
    names = [n for n in dict.fromkeys(inside) if n not in _TITLES and n.lower() not in lower]
    places = {n: [i for i, t in enumerate(tokens) if t == n] for n in names}
    length = max(1, len(tokens))
    main = max(names, key=lambda n: len(places[n]), default=None)
    return {
        "names said once": sum(len(p) == 1 for p in places.values()) / max(1, len(names)),
        "names that come late": float(sum(p[0] > 0.4 * length for p in places.values())),
        "main character still there": 0.5 if main is None else float(any(i > 0.7 * length for i in places[main])),
    }


def _repeated(story: str, rows: list[str]) -> dict[str, float]:
    text, length = story.lower(), max(1, len(words(story)))
    content = [[w for w in words(row) if w.isalpha() and w not in FUNCTION_WORDS and w not in _SMALL] for row in rows]
    return {
        "words repeated in a sentence": fmean(sum(c - 1 for c in Counter(row).values()) for row in content),
        "words that come back at once": 100 * len(re.findall(r"\b(\w+)\b(?: \w+){1,4} \1\b", text)) / length,
        "things repeated in a sentence": len(re.findall(r"\b(the \w{3,})\b[^.]{0,200}\b\1\b", text)) / len(rows),
    }
