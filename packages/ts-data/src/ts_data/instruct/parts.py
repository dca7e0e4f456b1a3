"""What a prompt can ask for, taken from the story itself by rules: words, features, sentences, a summary.

Words are those of the lists of `ts-data sample` (nouns, verbs, adjectives that a four-year-old knows). Features follow the rules of
`rules.toml`; they are signs, not a reading of the story.
"""

import math
import re
import tomllib
from collections import Counter
from functools import cache
from importlib import resources
from typing import Any

from ..corpus.words import vocabulary

_SENTENCE = re.compile(r"(?<=[.!?])\"?\s+(?=[\"A-Z])|(?<=[.!?]\")\s+(?=[\"A-Z])")
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


@cache
def _file() -> dict[str, Any]:
    """The content of rules.toml."""
    return tomllib.loads(resources.files(__package__).joinpath("rules.toml").read_text(encoding="utf-8"))


_COMMON = frozenset(_file()["common"].split())
_AMBIGUOUS = frozenset(_file()["ambiguous"].split())


@cache
def _rules() -> dict[str, tuple[str, re.Pattern[str], re.Pattern[str] | None]]:
    found = {}
    for name, rule in _file()["features"].items():
        against = _any_of(rule["against"]) if "against" in rule else None
        found[name.replace("_", " ")] = (rule["where"], _any_of(rule["signs"]), against)
    return found


def _any_of(signs: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?<!\w){re.escape(sign)}(?!\w)" if sign[0].isalpha() else re.escape(sign) for sign in signs))


FEATURES = tuple(_rules())
"""Names of the features, as prompts spell them."""


def sentences_of(story: str) -> list[str]:
    """The sentences of a story; a quotation mark stays with its sentence.

    >>> sentences_of('Tom ran. "Wait!" said Sue. He did.')
    ['Tom ran.', '"Wait!" said Sue.', 'He did.']
    """
    cuts = [match.start() + match.group().count('"') for match in _SENTENCE.finditer(story)]
    return [part.strip() for a, b in zip([0, *cuts], [*cuts, len(story)], strict=True) if (part := story[a:b]).strip()]


def is_whole(sentence: str) -> bool:
    """Return whether all quotation marks of a sentence are closed: speech of several sentences is cut between them."""
    return sentence.count('"') % 2 == 0


def features_of(sentences: list[str]) -> list[str]:
    """The features of a story, in the order of FEATURES."""
    third = max(1, len(sentences) // 3)
    parts = {"whole": sentences, "begin": sentences[:third], "end": sentences[-2:]}
    lowered = {where: " ".join(part).lower() for where, part in parts.items()}
    return [
        name
        for name, (where, signs, against) in _rules().items()
        if signs.search(lowered[where]) and not (against and against.search(lowered[where]))
    ]


@cache
def _forms() -> dict[str, tuple[str, str]]:
    """Form of a word → (its part of speech, the word): plurals, third persons, past tenses."""
    lists, forms = vocabulary(), {}
    for noun in (*lists["nouns"], *lists["animals"], *lists["foods"]):
        forms.update({noun: ("noun", noun), _with_s(noun): ("noun", noun)})
    for adjective in lists["adjectives"]:
        forms[adjective] = ("adjective", adjective)
    for pair in lists["verbs"]:
        verb, _, past = pair.partition("/")
        forms.update({verb: ("verb", verb), past: ("verb", verb), _with_s(verb): ("verb", verb)})
    return {form: found for form, found in forms.items() if form not in _COMMON | _AMBIGUOUS}


def forms_of(word: str) -> set[str]:
    """The forms of a word that prompts ask for by it.

    >>> sorted(forms_of("run"))
    ['ran', 'run', 'runs']
    """
    return {form for form, (_, found) in _forms().items() if found == word}


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"


def words_of(story: str) -> dict[str, list[str]]:
    """Part of speech → the words that the story uses, in its order, in their dictionary form.

    >>> words_of("The dragons ran to a shiny rock.")
    {'noun': ['dragon', 'rock'], 'verb': ['run'], 'adjective': ['shiny']}
    """
    found: dict[str, list[str]] = {"noun": [], "verb": [], "adjective": []}
    for form in dict.fromkeys(_WORD.findall(story.lower())):
        kind, word = _forms().get(form, ("", ""))
        if kind and word not in found[kind]:
            found[kind].append(word)
    return found


def summary_of(sentences: list[str]) -> str:
    """The two sentences whose words are the most frequent in the story, in its order (after SumBasic, Nenkova & Vanderwende 2005).

    Speech is left out if enough else is told. A rule, not an abstract: it copies.
    """
    plain = [number for number, sentence in enumerate(sentences) if '"' not in sentence]
    eligible = plain if len(plain) >= 2 else [number for number, sentence in enumerate(sentences) if is_whole(sentence)]
    words = [[word for word in _WORD.findall(sentence.lower()) if word not in _COMMON] for sentence in sentences]
    counts: Counter[str] = Counter(word for row in words for word in row)
    chosen: list[int] = []
    for _ in range(2):
        rest = [number for number in eligible if number not in chosen and words[number]]
        if not rest:
            break
        chosen.append(max(rest, key=lambda number: (sum(map(counts.__getitem__, words[number])) / len(words[number]), -number)))
        for word in set(words[chosen[-1]]):  # said already
            counts[word] = math.isqrt(counts[word])
    return " ".join(sentences[number] for number in sorted(chosen))
