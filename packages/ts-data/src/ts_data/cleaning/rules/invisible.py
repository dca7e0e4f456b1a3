"""Removes characters that a reader does not see: zero-width characters, soft hyphens, direction marks, control characters.

A joiner or a soft hyphen inside a word is removed. Any other invisible character may be the only separator of two words: it becomes a
space if the letters around it are two known words, or the end of a sentence and a word.

What an emoji is made of stays: joiners between its parts, the selector of its colours, the tags of a flag (Unicode TS 51, 1.4).

Spaces of any width stay; the rule `whitespace` unifies them. The control characters 80 to 9F stay because they are halves of mojibake:
this rule runs before `mojibake`, because an invisible character can be inside `â€œ`. U+FFFD stays because it replaces a lost character;
the rule `non_ascii` drops the story.
"""

import re
from itertools import pairwise

from ..two_words import are_two_words, is_word

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # a terminal's colours
_INSIDE = re.compile("[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\U000e0000-\U000e0fff]")
_BETWEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2061-\u206f\u3164\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff]+"
)
_EMOJI = "[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
_EMOJI_OR_INSIDE = re.compile(  # group 1 stays
    rf"({_EMOJI}[\ufe0e\ufe0f]?\u200d(?={_EMOJI})|{_EMOJI}[\ufe0e\ufe0f]|[0-9#*]\ufe0f(?=\u20e3)|\U0001f3f4[\U000e0020-\U000e007f]+)"
    f"|{_INSIDE.pattern}"
)
_ANY = re.compile(_INSIDE.pattern[:-1] + _BETWEEN.pattern[1:-1])
# Of ASCII: `œ` may be a third of a quotation mark.
_WORDS = re.compile(rf"(?<![A-Za-z0-9'’])[A-Za-z0-9'’]++(?:{_BETWEEN.pattern}[A-Za-z0-9'’]++)+")
_SENTENCES = re.compile(rf"(?<=[A-Za-z]{{2}}[.!?,;:…]){_BETWEEN.pattern}(?=[A-Za-z])")


def apply(text: str) -> str:
    """Return the text without invisible characters."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    if not _ANY.search(text):
        return text
    text = _EMOJI_OR_INSIDE.sub(r"\1", _ESCAPES.sub("", text))
    if not _BETWEEN.search(text):
        return text
    return _BETWEEN.sub("", _SENTENCES.sub(" ", _WORDS.sub(_divided, text)))


def _divided(match: re.Match[str]) -> str:
    """Join letters divided by invisible characters to one word, or to words with spaces."""
    parts = _BETWEEN.split(match[0])
    if is_word("".join(parts)):
        return "".join(parts)
    pairs = [" " + right if are_two_words(left, right) else right for left, right in pairwise(parts)]
    return parts[0] + "".join(pairs)
