"""Finds what may be a separator inside stories: other spellings of `<|endoftext|>`, rules of dashes or stars, form feeds."""

from __future__ import annotations

import re
from collections import Counter
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["found_inside", "lines_like_separators"]

_LINE = r"^[ \t]*(?P<line>-{3,}|\*{3,}|_{3,}|={3,}|#{3,}|~{3,}|\+{3,}|%{3,}|(?:\* ?){3,}|(?:- ?){3,}|\u2014{2,})[ \t\r]*$"
_TOKEN = (
    r"(?P<token><\s*\|[\w\s]{2,24}\|\s*>|<\uff5c[^<>\uff5c]{2,30}\uff5c>|</s>"
    r"|[<\[]\s*/?(?:end[ _-]?of[ _-]?(?:text|story|document)|end|eos|eot|eod|sep)\s*[>\]])"
)
_PATTERN = re.compile(rf"{_TOKEN}|(?P<feed>\x0c)|{_LINE}", re.MULTILINE | re.IGNORECASE)
_SIGNS = ("<", "[", "\x0c", "*", "_", "=", "#", "~", "%", "+++", "---", "- -", "\u2014\u2014")
"""Whatever the pattern finds holds one of these: most texts hold none, and are passed over at once. One byte is found fastest."""

_MOST = 20
"""Different spellings that are counted in one batch."""


def found_inside(texts: pa.Array) -> Counter[str]:
    """Spelling -> stories of a large_string column that hold it in their midst."""
    found: Counter[str] = Counter()
    content = _content(texts)
    signs = [sign for sign in _SIGNS if sign.encode() in content]
    if not signs:
        return found
    rows = texts.filter(reduce(pc.or_, [pc.match_substring(texts, sign) for sign in signs]))
    for text in rows.to_pylist():
        story = text.strip()
        inside = (m for m in _PATTERN.finditer(story) if m.start() > 0 and m.end() < len(story))
        found.update({_spelling(match) for match in inside})
    return Counter(dict(found.most_common(_MOST)))


def _content(texts: pa.Array) -> bytes:
    """The bytes of a column, which may be a slice of a larger one."""
    _, ends, buffer = texts.buffers()
    if buffer is None or not len(texts):
        return b""
    first, end = np.frombuffer(ends, np.int64)[[texts.offset, texts.offset + len(texts)]].tolist()
    return bytes(buffer.slice(first, end - first))


def _spelling(match: re.Match[str]) -> str:
    return "\f" if match["feed"] else (match["token"] or match["line"]).strip()


def lines_like_separators(text: str) -> str | None:
    """The commonest of what may be a separator in a text."""
    found = Counter(_spelling(match) for match in _PATTERN.finditer(text))
    return found.most_common(1)[0][0] if found else None
