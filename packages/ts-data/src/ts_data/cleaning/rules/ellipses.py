"""One form for the ellipsis: three dots, no blank before, one after (`wait … what`, `wait...what` → `wait... what`).

Two dots between digits (`1..5`) or before a slash (`../`) are not an ellipsis and stay.
"""

import re

_TWO_DOTS = re.compile(r"\.\s{0,3}\.")
# Characters come first, their look-behinds second: `re` searches a set many times faster than a look-behind.
_DOTS = re.compile(
    r"[.…](?:(?<=…)[.…]*|(?:(?<![0-9].)\.(?![\\/])|(?<=[0-9].)\.(?![0-9]))[.…]*|(?<!\..)(?:\s{1,3}\.)+\s{1,3}[.…])"
)
_BEFORE = re.compile(r"\s(?<=\w\s)\s*\.\.\.(?!\w)")
_AFTER = re.compile(r"\.\.\.(?<=[\w?!,]\.\.\.)(?=\w)")


def apply(text: str) -> str:
    """Return the text with `...` for every ellipsis."""
    if "…" not in text and not _TWO_DOTS.search(text):
        return text
    text = _DOTS.sub("...", text)
    return _AFTER.sub("... ", _BEFORE.sub("...", text))
