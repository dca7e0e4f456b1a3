r"""Undoes escapes left in the text: `\"` → `"`, a written-out `\n` → a line break, any other backslash → nothing.

A backslash stays between two digits (`1\2`), between two words (`either\or`; it becomes a space if it may be a line break, `a\nice day`)
and in the path of a file (`C:\new\dog`).
"""

import re

from ..two_words import are_two_words

# `\n` is a line break unless a lower-case word begins with that n: `\nOne`, `\n\n"`, `.\n` at the end.
# The backslash comes first, its look-behind second: `re` searches a literal many times faster than a look-behind.
_RUN = re.compile(
    r"\\(?:(?P<path>(?<=(?<![A-Za-z])[A-Za-z]:\\)(?<!\\[nrt]:\\)(?![nrt](?![a-z]))\S*)|\\*(?P<break>[nrt](?![a-z]))?)"
)
_BEFORE = re.compile(r"[A-Za-z']+\Z")
_AFTER = re.compile(r"[A-Za-z']+")


def apply(text: str) -> str:
    """Return the text without backslashes that escape something."""
    return _RUN.sub(_replacement, text) if "\\" in text else text


def _replacement(match: re.Match[str]) -> str:
    if match["path"] is not None:
        return match[0]
    if match["break"]:
        return "\n"
    if not _divides(match.string, match.start(), match.end()):
        return ""
    return " " if match.string[match.end()] in "nrt" else match[0]  # perhaps a line break


def _divides(text: str, start: int, end: int) -> bool:
    """Return whether the text between two positions separates two numbers or two words."""
    if text[start - 1 : start].isdecimal() and text[end : end + 1].isdecimal():
        return True
    left, right = _BEFORE.search(text, max(0, start - 40), start), _AFTER.match(text, end)
    return left is not None and right is not None and are_two_words(left[0], right[0])
