"""Repairs UTF-8 that was decoded as Windows-1252: a table for the known damage of this corpus, ftfy for the rest.

ftfy alone is not enough: in TinyStories the closing quote has lost its third byte (a bare `â€`), which ftfy reads as a dagger.
"""

import re

TABLE: tuple[tuple[str, str], ...] = (
    ("â€œ", "“"),
    ("â€™", "’"),
    ("â€˜", "‘"),
    ("â€\u201c", "–"),
    ("â€\u201d", "—"),
    ("â€¦", "…"),
    ("â€š", "‚"),
    ("â€", "”"),
)
"""In order: the bare `â€` comes last, and only if ftfy cannot read the next character as a third byte."""

_BARE = TABLE[-1][0]
# The bytes 80 to BF read as Windows-1252, without A0: after a quote a no-break space is a blank.
_THIRD = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ¡¢£¤¥¦§¨©ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿"
_BARE_PATTERN = re.compile(f"{_BARE}(?![{_THIRD}])\x9d?")
# What ftfy may repair: a character that Windows-1252 or Latin-1 gives for a lead byte C2 to F4, or a C1 control.
_SUSPECT = re.compile("[\x80-\x9fÂ-ô][\x80-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ ]")

# A letter that is a word (`the letter Â stood alone`, `“Ã”`, `«Â»`), or ends a word of capitals before a closing mark.
_OWN = re.compile(
    "[À-ÿ](?:(?<![^\\s\"'“‘«(—].)(?=[ \t\r\n\"'.,!?;:)”’—…-]|$)(?!\u201d\\w)|(?<=«.)(?=»)|(?<=[A-ZÀ-Þ][À-Þ])(?=[”’“‘—–…»](?!\\w)))"
)
_HELD = "\ue000"
"""Replaces such a letter while ftfy runs: a private-use character, which no encoding damage produces."""


def apply(text: str) -> str:
    """Return the text with its mojibake undone."""
    if text.isascii():
        return text
    if "â€" in text:
        text = text.replace(_BARE + _BARE, f"{TABLE[-1][1]}{_BARE}")  # before `â€œ` becomes what looks like a third byte
        for wrong, right in TABLE[:-1]:
            text = text.replace(wrong, right) if wrong[-1] in text else text  # a character is found faster than three
        if _BARE in text:
            text = _BARE_PATTERN.sub(TABLE[-1][1], text)
    if _unknown(text) and _SUSPECT.search(text):
        return _fixed(text)
    return text


def _fixed(text: str) -> str:
    """Return the text with ftfy's repairs, except for letters that are words."""
    import ftfy

    letters = [] if _HELD in text else _OWN.findall(text)
    if not letters:
        return str(ftfy.fix_encoding(text))
    pieces = str(ftfy.fix_encoding(_OWN.sub(_HELD, text))).split(_HELD)
    return "".join(piece + letter for piece, letter in zip(pieces, [*letters, ""], strict=True))


def _unknown(text: str) -> bool:
    """Return whether the text holds more than ASCII and the marks that the table produces. Replacing is faster than a pattern."""
    for sound in "”“’—–‘…":
        if text.isascii():
            return False
        text = text.replace(sound, "")
    return not text.isascii()
