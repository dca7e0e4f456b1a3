"""One form for the dash: an em dash between blanks, the one non-ASCII character that stays.

`word--word`, `word – word`, `word - word` and `word—word` become `word — word`, so that the dash is always a token of its own. There is no
blank between a dash and the quotation mark that it belongs to: `"But I—"`, `"—and then`. A dash between digits is a range or a difference,
a dash before a digit a minus sign; both become `-`. The hyphen inside words (`three-year-old`) is left alone.
"""

import re

_HYPHENS = "\u2010\u2011\ufe63\uff0d"
_OTHERS = "\u2012\u2013\u2015\u2212\u2e3a\u2e3b"
# The character comes first, its look-behind second: `re` searches a literal many times faster than a look-behind.
_RANGE = re.compile("[\u2012\u2013\u2212](?<=[0-9].)(?=[0-9])|[\u2012\u2013\u2212](?<=[0-9] .)(?= [0-9])")
_NEGATIVE = re.compile("\u2212(?=[0-9])|[\u2012\u2013](?<![^ (].)(?=[0-9])")
_MINUS = re.compile(" - (?<=[0-9%] - )(?=[$]?[0-9])")
_DOUBLE = re.compile("--+")


def apply(text: str) -> str:
    """Return the text with ` — ` for every dash."""
    if not text.replace("\u2014", "").isascii():
        text = _NEGATIVE.sub("-", _RANGE.sub("-", text))
        for hyphen in _HYPHENS:
            text = text.replace(hyphen, "-")
        for other in _OTHERS:
            text = text.replace(other, "\u2014")
    if "-" in text:  # a character is found faster than three
        text = _DOUBLE.sub("\u2014", text)
        if " - " in text:
            text = _MINUS.sub("\x00", text).replace(" - ", "\u2014").replace("\x00", " - ")
    return _spaced(text.split("\u2014")) if "\u2014" in text else text


def _spaced(parts: list[str]) -> str:
    """Join the parts between dashes; dashes in a row count as one."""
    parts = [parts[0], *filter(None, [part.strip(" ") for part in parts[1:-1]]), parts[-1]]
    pieces = [parts[0].rstrip(" ")]
    for part in parts[1:]:
        part, text = part.lstrip(" "), pieces[-1][-2:]
        left = "" if not text or text[-1].isspace() or _opens(text) or _closes(part) else " "
        right = "" if not part or part[0].isspace() or _opens(text) or _closes(part) else " "
        pieces.append(f"{left}\u2014{right}{part}")
    return "".join(pieces)


def _opens(text: str) -> bool:
    """Return whether the text ends with a quotation mark that opens speech."""
    return text[-1:] in ('"', "'") and (len(text) == 1 or text[-2].isspace())


def _closes(part: str) -> bool:
    """Return whether the text begins with a quotation mark that closes speech: no word follows it directly."""
    return part[:1] in ('"', "'") and (len(part) == 1 or not (part[1].isalnum() or part[1] in "\"'"))
