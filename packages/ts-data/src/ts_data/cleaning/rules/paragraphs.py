"""Like `whitespace`, but keeps paragraphs: joins lines, and makes exactly one empty line of empty lines."""

from __future__ import annotations

import re

__all__ = ["apply"]

_BREAK = re.compile(r"\n[^\S\n]*\n\s*")


def apply(text: str) -> str:
    r"""Return the text with single spaces, and `\n\n` between paragraphs."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2029", "\n\n")
    return "\n\n".join(filter(None, (" ".join(part.split()) for part in _BREAK.split(lines))))
