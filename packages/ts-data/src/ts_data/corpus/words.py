"""The words and sentence patterns of `ts-data sample`, from `words.toml` and `patterns.toml`."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def vocabulary() -> dict[str, list[str]]:
    """List of words by name: `nouns`, `verbs` (with the past tense after a slash), `girls` …"""
    return {name: _split(text) for name, text in _read("words.toml").items()}


@cache
def pools() -> dict[str, list[str]]:
    """Field of a pattern → words that fill it: lists of its own, such as days, and lists of the vocabulary."""
    content = _read("patterns.toml")
    own = {name: _split(text) for name, text in content["pools"].items()}
    return own | {field: vocabulary()[name] for field, name in content["fields"].items()}


@cache
def patterns() -> dict[str, list[str]]:
    """Group → sentence patterns."""
    found: dict[str, list[str]] = _read("patterns.toml")["patterns"]
    return found


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _split(text: str) -> list[str]:
    return [" ".join(item.split()) for item in text.split(",")]
