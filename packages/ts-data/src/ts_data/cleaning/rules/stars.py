"""Removes asterisks of emphasis, footnotes, list items and scene breaks. Asterisks inside a word or a calculation stay.

`*word*`, `**word**`, `un*believ*able`, `word*` and `* * *` lose their asterisks; `4*5`, `4 * 5`, `2*x`, `2**3` and `d*mn`
keep them.
"""

import re

_STARS = re.compile(r"\*+")
# The asterisk comes first, its look-behind second: `re` searches a literal many times faster than a look-behind.
_STAYS = re.compile(
    r"\*(?:(?<=[^\W_]\*)\**(?=[^\W_])"  # inside a word
    r"|(?:(?<=[0-9]\*)|(?<=[0-9][) ]\*)|(?<=[0-9]\) \*))\**(?= ?[(]?[0-9])"  # between numbers
    r"|(?<=[0-9] \*)(?= [a-z]\b)|(?<=\b[a-z] \*)(?= [0-9])|(?<=\b[b-z] \*)(?= [a-z]\b))"  # beside a variable
)
_WORD = re.compile(r"\S*\*\S*")


def apply(text: str) -> str:
    """Return the text without the asterisks that are markup."""
    if "*" not in text:
        return text
    kept = {match.start() for match in _STAYS.finditer(text)}
    if not kept:
        return text.replace("*", "")
    for word in _WORD.finditer(text):
        runs = [match.start() for match in _STARS.finditer(text, word.start(), word.end())]
        if len(runs) > 1 and not _calculates(word[0]):  # emphasis opens and closes in one word
            kept.difference_update(runs)
    return _STARS.sub(lambda match: match[0] if match.start() in kept else "", text)


def _calculates(word: str) -> bool:
    """Return whether a word is a product: single letters and numbers between its asterisks, as `2*3*4`."""
    return all(len(part) == 1 or part[:1].isdecimal() or part[-1:].isdecimal() for part in _STARS.split(word.strip("*().,!?=")))
