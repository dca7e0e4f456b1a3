"""One form for each quotation mark: `"` for double ones, `'` for single ones and apostrophes. Blanks are unchanged.

`‚` after a word is a comma, as in this corpus (mojibake `â€š`); before a word it is an opening quote.
"""

from __future__ import annotations

import re

__all__ = ["apply"]

_DOUBLE = "“”„‟«»″〝〞"
_SINGLE = "’‘‛′ʼʹ´‹›"
_LOW = "‚"
_MARKS = re.compile("\"|'+")
_OPENS = re.compile(r"(?<![^\s\"'(\u2014-])‚(?=\w)")


def apply(text: str) -> str:
    """Return the text with straight quotes only."""
    text = _replaced(text, _DOUBLE, '"').replace("``", '"')
    text = _replaced(text, _SINGLE, "'").replace("`", "'")
    text = text if text.isascii() else _OPENS.sub("'", text).replace(_LOW, ",")
    return _with_double(text) if "''" in text else text


def _with_double(text: str) -> str:
    """Return the text with `"` for two single quotes in a row, unless one of them closes a single-quoted word."""
    single = double = False  # whether such a quote is open

    def written(marks: re.Match[str]) -> str:
        nonlocal single, double
        before, after = text[max(0, marks.start() - 1) : marks.start()], text[marks.end() : marks.end() + 1]
        opens = (not before or before.isspace() or before in '"([\u2014-') and bool(after) and not after.isspace()
        run = marks.group()
        if run == "'":
            single = opens or (single and after.isalnum())
        elif run == '"':
            double = opens
        elif len(run) == 2 and single and not opens:
            run = "'\"" if double else "'"
            single = double = False
        elif len(run) == 3:
            run = "\"'" if opens else "'\""
            single = double = opens
        else:
            run = run.replace("''", '"')
            double = opens
        return run

    return _MARKS.sub(written, text)


def _replaced(text: str, forms: str, by: str) -> str:
    for form in forms:
        if text.isascii():  # nothing left to replace
            break
        text = text.replace(form, by)
    return text
