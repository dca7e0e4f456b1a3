"""Letters: ligatures and full-width forms spelled out (`ﬁ` → `fi`, `æ` → `ae`, `Ａ` → `A`), and accents removed (`café` → `cafe`).

The rule `accents` is off by default: the talk drops such stories (rule `non_ascii`).
"""

import re
import unicodedata

_LIGATURES = re.compile("[\ufb00-\ufb06\uff01-\uff5eæÆœŒĳĲ]")
_BY_HAND = {"æ": "ae", "œ": "oe", "Æ": "Ae", "Œ": "Oe"}
_LOOSE = re.compile("(?<=[A-Za-z])[\u0300-\u0337\u0339-\u036f]+")


def ligatures(text: str) -> str:
    """Return the text with each ligature written as its letters, both capitals in a word of capitals. Fractions and powers stay."""
    return text if text.isascii() else _LIGATURES.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    letters = _BY_HAND.get(match[0]) or unicodedata.normalize("NFKC", match[0])
    if match[0] in "ÆŒ" and _in_capitals(match.string, match.start()):
        return letters.upper()
    return letters


def _in_capitals(text: str, at: int) -> bool:
    """Return whether the letter at a position has a capital beside it and no small letter after it."""
    before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    return after.isupper() or (before.isupper() and not after.islower())


def accents(text: str) -> str:
    """Return the text with each accented Latin letter replaced by its base letter."""
    if text.isascii():
        return text
    return _LOOSE.sub("", "".join(_base(character) for character in unicodedata.normalize("NFC", text)))


def _base(character: str) -> str:
    """Return the ASCII letter of an accented one, any other character unchanged (also `≠`, which is `=` with a stroke)."""
    decomposed = unicodedata.normalize("NFD", character)
    return decomposed[0] if len(decomposed) > 1 and decomposed[0].isascii() and decomposed[0].isalpha() else character
