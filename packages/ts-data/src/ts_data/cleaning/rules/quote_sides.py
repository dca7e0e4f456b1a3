"""Removes the inner blank of a double quotation mark that has blanks on both sides: `said, " We go` becomes `said, "We go`.

Marks open and close in turns, so the number of marks before one gives its side. The rule acts only if a text has an even number of
marks and each mark with one blank agrees. It leaves any other text, and one with inches (`5 " long`), unchanged.
"""

from __future__ import annotations

import re

__all__ = ["apply"]

_INCHES = re.compile(r'(?<=[0-9]) "(?=\s)')
_LOOSE = re.compile(r'"(?<=\s.)(?=\s)')


def apply(text: str) -> str:
    """Return the text with no blank on the inner side of its marks."""
    if '"' not in text or not _LOOSE.search(text) or _INCHES.search(text):
        return text
    parts = text.split('"')
    outer, inner = parts[::2], parts[1::2]
    if len(outer) == len(inner) or any(map(_contradicted, outer, inner, outer[1:])):
        return text
    return "".join(f'{before}"{speech.strip()}"' for before, speech in zip(outer, inner, strict=False)) + outer[-1]


def _contradicted(before: str, speech: str, after: str) -> bool:
    """Return whether the text between two marks has a blank at a mark whose other side has none, or is only blanks."""
    opens_late = speech[:1].isspace() and not before[-1:].isspace() and before != ""
    closes_early = speech[-1:].isspace() and not after[:1].isspace() and after != ""
    return opens_late or closes_early or speech.isspace()
