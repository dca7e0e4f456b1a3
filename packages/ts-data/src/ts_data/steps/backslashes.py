r"""Undoes escapes that were left in the text: `\"` → `"`, a written-out `\n` → a line break, any other backslash → nothing."""

from __future__ import annotations

import re

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ("\\",)

# `\n` is a line break where no lower-case word begins with that n: `\nOne`, `\n\n"`, `.\n` at the end.
_BREAK = re.compile(r"\\+[nrt](?![a-z])")


def apply(text: str) -> str:
    """The text without backslashes."""
    return _BREAK.sub("\n", text).replace("\\", "") if "\\" in text else text
