"""Damages clean stories like the published TinyStories files, at known rates. Tests and benchmarks use the same functions and
keep the undamaged text to compare."""

import random
from collections.abc import Callable

from .grammar import DIALOGUE

DUPLICATES = 0.1513
"""Share of stories that are exact copies of an earlier one (TinyStories V1)."""

_QUOTED = ("mojibake", "curly")


def damage(text: str, dice: random.Random) -> str:
    """The text with each kind of damage at its rate."""
    for kind, (rate, apply) in DEFECTS.items():
        if kind in _QUOTED:  # only stories with speech can have it, so they have it the more often
            rate = rate / DIALOGUE if '"' in text else 0.0
        if dice.random() < rate:
            text = apply(text, dice)
    return text


def _curly(text: str, dice: random.Random) -> str:
    """Straight quotes made curly: every second double one closes."""
    parts = text.split('"')
    marks = "“”"
    joined = parts[0] + "".join(marks[i % 2] + part for i, part in enumerate(parts[1:]))
    return joined.replace("'", "’")


def _mojibake(text: str, dice: random.Random) -> str:
    """Curly quotes whose UTF-8 was read as Windows-1252; the closing one loses its third byte, as in the real files."""
    table = {"“": "â€œ", "”": "â€", "’": "â€™"}
    return "".join(table.get(character, character) for character in _curly(text, dice))


def _ligature(text: str, dice: random.Random) -> str:
    for letters, ligature in (("ffi", "ﬃ"), ("ff", "ﬀ"), ("fi", "ﬁ"), ("fl", "ﬂ")):
        text = text.replace(letters, ligature)
    return text


def _stars(text: str, dice: random.Random) -> str:
    words = text.split(" ")
    at = dice.randrange(len(words))
    words[at] = f"*{words[at]}*"
    return " ".join(words)


def _insert(text: str, dice: random.Random, what: str) -> str:
    at = dice.randrange(1, max(2, len(text)))
    return text[:at] + what + text[at:]


DEFECTS: dict[str, tuple[float, Callable[[str, random.Random], str]]] = {
    "empty": (0.0001, lambda text, dice: dice.choice(("", "\n", " "))),
    "foreign": (0.0016, lambda text, dice: _insert(text, dice, dice.choice(("é", "ñ", "中", "😊", "½", "°")))),
    "short": (0.03, lambda text, dice: text[: dice.randrange(20, 170)]),
    "mojibake": (0.033, _mojibake),
    "curly": (0.011, _curly),
    "invisible": (0.005, lambda text, dice: _insert(text, dice, dice.choice("\u200b\u00ad\ufeff\u200d\u2060"))),
    "ligature": (0.005, _ligature),
    "stars": (0.005, _stars),
    "backslashes": (0.005, lambda text, dice: text.replace('"', '\\"') if '"' in text else _insert(text, dice, "\\")),
    "comma_quote": (0.005, lambda text, dice: text.replace('," ', ',"').replace(', "', ',"')),
    "dash": (0.005, lambda text, dice: text.replace(", and ", dice.choice((" - ", "--", " – ", "—", " — ")), 1)),
    "ellipsis": (0.005, lambda text, dice: text.replace(". ", dice.choice(("… ", "... ", ". . . ", ".... ")), 1)),
    "spaces": (0.3, lambda text, dice: text.replace(".\n", ". \n").replace(". ", ".  ", 1)),
}
"""Kind → share of stories with it, and how it is done. `empty` and `foreign` are the talk's; `mojibake`, `curly` and `short` were counted in
2,300 real stories (77, 26 and 69 of them); `spaces` likewise (blanks at line ends); for the others no rate is known."""
