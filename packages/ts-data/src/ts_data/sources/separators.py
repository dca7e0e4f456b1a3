"""Finds what may be a separator inside stories: other spellings of `<|endoftext|>`, rules of dashes or stars, form feeds."""

import re
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

_LINE = r"^[ \t]*(?P<line>-{3,}|\*{3,}|_{3,}|={3,}|#{3,}|~{3,}|\+{3,}|%{3,}|(?:\* ?){3,}|(?:- ?){3,}|\u2014{2,})[ \t\r]*$"
_TOKEN = (
    r"(?P<token><\s*\|[\w\s]{2,24}\|\s*>|<\uff5c[^<>\uff5c]{2,30}\uff5c>|</s>"
    r"|[<\[]\s*/?(?:end[ _-]?of[ _-]?(?:text|story|document)|end|eos|eot|eod|sep)\s*[>\]])"
)
_PATTERN = re.compile(rf"{_TOKEN}|(?P<feed>\x0c)|{_LINE}", re.MULTILINE | re.IGNORECASE)
SIGN = r"[<\[\x0c*_=#~%]|\+\+\+|---|- -|\x{2014}{2}"
"""Every match of the pattern holds one of these (RE2 syntax). Most texts hold none and are skipped."""

_MOST = 20
"""Maximum number of spellings counted per batch."""


def found_inside(texts: pa.Array) -> Counter[str]:
    """Spelling → number of stories of a large_string column that hold it inside."""
    found: Counter[str] = Counter()
    rows = texts.filter(pc.match_substring_regex(texts, SIGN))
    for text in rows.to_pylist():
        story = text.strip()
        inside = (m for m in _PATTERN.finditer(story) if m.start() > 0 and m.end() < len(story))
        found.update({_spelling(match) for match in inside})
    return Counter(dict(found.most_common(_MOST)))


def _spelling(match: re.Match[str]) -> str:
    return "\f" if match["feed"] else (match["token"] or match["line"]).strip()


def lines_like_separators(text: str) -> str | None:
    """The most frequent possible separator in a text, or None."""
    found = Counter(_spelling(match) for match in _PATTERN.finditer(text))
    return found.most_common(1)[0][0] if found else None
