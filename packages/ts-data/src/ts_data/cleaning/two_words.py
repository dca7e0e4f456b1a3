"""Tells two words from the halves of one word when the character between them is lost. Word lists decide."""

import tomllib
from functools import cache
from importlib import resources

_CONTRACTED = ("'s", "n't", "'m", "'re", "'ve", "'ll", "'d")
_PARTICLES = frozenset(["the", "was", "were", "his", "her", "their", "they", "that", "with", "had"])


@cache
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    """(common words, all known words), in lower case."""
    from ..corpus.words import vocabulary

    own = tomllib.loads(resources.files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))
    texts = [item.replace("/", " ") for items in vocabulary().values() for item in items]
    common = frozenset(own["common"].split())
    return common, common.union(own["compounds"].split(), " ".join(texts).lower().split())


def are_two_words(left: str, right: str) -> bool:
    """Return whether `left` and `right`, found with a character other than a space between them, are two words.

    >>> are_two_words("Once", "upon"), are_two_words("hap", "py"), are_two_words("to", "day")
    (True, False, False)
    """
    common, known = _lists()
    first, second = left.lower().replace("’", "'"), right.lower()
    if first.endswith(_CONTRACTED):
        return True
    if first + second in known:
        return False
    if right[0].isupper() and left[-1].islower():
        return True
    if first in known and second in known:
        return first in common or second in common or min(len(first), len(second)) > 3
    if (second in _PARTICLES and len(first) > 4) or (first in _PARTICLES and len(second) > 4):
        return True
    if left.isdecimal():
        return len(second) > 3
    return second in known and len(second) > 3 and left[0].isupper() and len(left) > 2


def is_word(letters: str) -> bool:
    """Return whether the letters are a known word."""
    return letters.lower() in _lists()[1]
