"""One form for each quotation mark: `"` for double ones, `'` for single ones and apostrophes. Moves no blanks.

`‚` is a comma after a word, as in this corpus (mojibake `â€š`), and an opening quote before one.
"""

from __future__ import annotations

import re

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ("`", "''")

_DOUBLE = "“”„‟«»″〝〞"
_SINGLE = "’‘‛′ʼʹ´‹›"
_LOW = "‚"
_OPENS = re.compile(r"(?<![^\s\"'(\u2014-])‚(?=\w)")


def apply(text: str) -> str:
    """The text with straight quotes only."""
    text = _replaced(text, _DOUBLE, '"').replace("``", '"').replace("''", '"')
    text = _replaced(text, _SINGLE, "'").replace("`", "'")
    return text if text.isascii() else _OPENS.sub("'", text).replace(_LOW, ",")


def _replaced(text: str, forms: str, by: str) -> str:
    for form in forms:
        if text.isascii():  # nothing is left to find
            break
        text = text.replace(form, by)
    return text
