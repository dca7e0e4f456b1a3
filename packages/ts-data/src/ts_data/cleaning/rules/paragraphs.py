"""Like `whitespace`, but keeps paragraphs: lines are joined, an empty line becomes exactly one empty line."""

from __future__ import annotations

import re

from ..rules import ALWAYS

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ALWAYS

_BREAK = re.compile(r"\n[^\S\n]*\n\s*")


def apply(text: str) -> str:
    r"""The text with single blanks and `\n\n` between paragraphs."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2029", "\n\n")
    return "\n\n".join(filter(None, (" ".join(part.split()) for part in _BREAK.split(lines))))
