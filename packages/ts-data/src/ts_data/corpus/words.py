"""The vocabulary of `ts-data sample`, as lists; `words.toml` holds it."""

from __future__ import annotations

import tomllib
from importlib import resources

__all__ = [
    "ADJECTIVES",
    "ANIMALS",
    "BIRTHPLACES",
    "BOYS",
    "CREATURES",
    "FEELINGS_BAD",
    "FEELINGS_GOOD",
    "FOODS",
    "GIRLS",
    "GROWNUPS",
]
__all__ += ["NOUNS", "PLACES", "TRAITS", "VERBS", "WEATHER", "vocabulary"]


def vocabulary() -> dict[str, list[str]]:
    """Every list of the file by its name."""
    lists = tomllib.loads(resources.files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))
    return {name: [" ".join(item.split()) for item in text.split(",")] for name, text in lists.items()}


_LISTS = vocabulary()
ADJECTIVES, ANIMALS, BIRTHPLACES, BOYS = (_LISTS[name] for name in ("adjectives", "animals", "birthplaces", "boys"))
CREATURES, FEELINGS_BAD, FEELINGS_GOOD = (_LISTS[name] for name in ("creatures", "feelings_bad", "feelings_good"))
FOODS, GIRLS, GROWNUPS, NOUNS = (_LISTS[name] for name in ("foods", "girls", "grownups", "nouns"))
PLACES, TRAITS, WEATHER = (_LISTS[name] for name in ("places", "traits", "weather"))
VERBS = [(verb, past) for verb, _, past in (pair.partition("/") for pair in _LISTS["verbs"])]
"""(verb, past tense)."""
