"""Quotation marks: one form for each, the blank on the right side, a blank beside a mark after a comma.

`straight` writes `"` for double marks and `'` for single ones and apostrophes. `‚` after a word is a comma, as in this corpus (mojibake
`â€š`); before a word it is an opening quote.

`sides` removes the inner blank of a mark that has blanks on both sides: `said, " We go` becomes `said, "We go`. Marks open and close in
turns, so the number of marks before one gives its side. The rule acts only if a text has an even number of marks and each mark with one
blank agrees. It leaves any other text, and one with inches (`5 " long`), unchanged.

`spaces` adds the missing blank beside a mark after a comma, as in `"Yes,"said Tom` and `said,"Yes`. The mark before it decides whether it
opens or closes: after an opening mark it closes.
"""

import re

_DOUBLE = "“”„‟«»″〝〞"
_SINGLE = "’‘‛′ʼʹ´‹›"
_LOW = "‚"
_MARKS = re.compile("\"|'+")
_OPENS = re.compile(r"(?<![^\s\"'(\u2014-])‚(?=\w)")


def straight(text: str) -> str:
    """Return the text with straight quotes only."""
    text = _replaced(_replaced(text, _DOUBLE, '"'), _SINGLE, "'")
    if "`" in text:
        text = text.replace("``", '"').replace("`", "'")
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


_INCHES = re.compile(r'(?<=[0-9]) "(?=\s)')
_LOOSE = re.compile(r'"(?<=\s.)(?=\s)')


def sides(text: str) -> str:
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


_MISSING = re.compile(r',"(?=[A-Za-z])')


def spaces(text: str) -> str:
    """Return the text with a blank on the outer side of such a quotation mark."""
    pieces: list[str] = []
    done, opens = 0, False
    for match in _MISSING.finditer(text):
        at = match.start() + 1
        before = text.rfind('"', 0, at)
        opens = not (opens if pieces and before == done - 1 else _opens(text, before))
        pieces += [text[done:at], ' "' if opens else '" ']
        done = at + 1
    return "".join([*pieces, text[done:]]) if pieces else text


def _opens(text: str, at: int) -> bool:
    """Return whether the quotation mark at a position opens speech; there is none at -1."""
    return at == 0 or (at > 0 and text[at - 1] in " \n(—" and not text[at + 1].isspace())
