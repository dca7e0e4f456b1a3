"""One form for each quotation mark: `"` for double ones, `'` for single ones and apostrophes. Moves no blanks."""

from __future__ import annotations

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ("`", "''")

_DOUBLE = "“”„‟«»″〝〞"
_SINGLE = "’‘‛′ʼʹ´‹›"
_COMMA = "‚"  # U+201A: in this corpus a comma (mojibake `â€š`), not an opening quote


def apply(text: str) -> str:
    """The text with straight quotes only."""
    text = _replaced(text, _DOUBLE, '"').replace("``", '"').replace("''", '"')
    return _replaced(_replaced(text, _SINGLE, "'").replace("`", "'"), _COMMA, ",")


def _replaced(text: str, forms: str, by: str) -> str:
    for form in forms:
        if text.isascii():  # nothing is left to find
            break
        text = text.replace(form, by)
    return text
