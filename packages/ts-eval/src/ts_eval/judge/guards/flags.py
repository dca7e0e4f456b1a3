"""Flags: regular expressions for text that addresses the judge (ratings, markup, commands, ciphers).

Changes no text. Measured on real stories and on sets of attacks: docs/performance/ts-eval-judge.md.
"""

import re
import unicodedata

from ...packaged import either, packaged_toml
from .base import Guard

_FILE = packaged_toml(__package__, "flags.toml")
RULES = {
    name: either(re.sub("<([A-Z]+)>", lambda part: _FILE["parts"][part[1]], rule) for rule in rules)
    for name, rules in _FILE["rules"].items()
}
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\ufff9-\ufffb\x00-\x08\x0b\x0e-\x1f\x7f]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad\ufe00-\ufe0f]")
_LETTERS = str.maketrans("аеорсухіјѕԁһԛԝɡνοαιρτυκѐäöü@$¡|", "aeopcyxijsdhqwgvoaiptukeaouasil")
_LEET = str.maketrans("0134578", "oieastb")


class Flags(Guard):
    """Flags a story with the name of each rule that it matches."""

    def flags(self, story: str) -> tuple[str, ...]:
        """Names of `RULES`, and `hidden-characters`."""
        readings = _readings(story)
        found = [name for name, rule in RULES.items() if any(rule.search(text) for text in readings)]
        if _HIDDEN.search(story) or len(_INVISIBLE.findall(story)) > 4:
            found.append("hidden-characters")
        return tuple(found)


def _readings(story: str) -> list[str]:
    """The story as written, and with look-alike letters, hidden characters and digits in words normalised."""
    plain = _INVISIBLE.sub("", _HIDDEN.sub("", unicodedata.normalize("NFKC", story)))
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain.translate(_LETTERS)) if not unicodedata.combining(c))
    readings = [story, plain, re.sub(r"[*_~`^]+|(?<=\w)[.\-](?=\w)", "", plain)]
    if re.search(r"[a-z][0134578]|[0134578][a-z]", plain, re.IGNORECASE):
        readings.append(re.sub(r"\w*[a-z]\w*", lambda m: m[0].translate(_LEET), plain, flags=re.IGNORECASE))
    return list(dict.fromkeys(readings))
