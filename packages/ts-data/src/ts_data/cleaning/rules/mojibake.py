"""Repairs UTF-8 that was read as Windows-1252: a table for this corpus' known damage, ftfy for the rest.

Not ftfy alone: in TinyStories the closing quote has lost its third byte (`â€` stands alone), which ftfy
takes for a dagger. ftfy changes no ASCII story, so ASCII never gets here.
"""

from __future__ import annotations

import re

__all__ = ["TABLE", "TRIGGERS", "apply"]

TRIGGERS = ()

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
"""Ordered: the bare `â€` comes last, and only where the next character is none that ftfy can read as a third byte."""

_BARE = TABLE[-1][0]
# The Windows-1252 images of the bytes 80 to BF, but for the no-break space and A0: after a quote that is a blank.
_THIRD = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ¡¢£¤¥¦§¨©ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿"
_BARE_PATTERN = re.compile(f"{_BARE}(?![{_THIRD}])\x9d?")
# What ftfy could act on: any character that Windows-1252 or Latin-1 gives for a lead byte C2 to F4, or a C1 control.
_SUSPECT = re.compile("[\x80-\x9fÂ-ô][\x80-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ ]")

# A letter that is a word of its own (`the letter Â stood alone`, `“Ã”`, `«Â»`), or ends a word of capitals before a closing mark.
_OWN = re.compile(
    "(?<![^\\s\"'“‘«(—])[À-ÿ](?=[ \t\r\n\"'.,!?;:)”’—…-]|$)(?!\u201d\\w)|(?<=«)[À-ÿ](?=»)|(?<=[A-ZÀ-Þ])[À-Þ](?=[”’“‘—–…»](?!\\w))"
)
_HELD = "\ue000"
"""Stands for such a letter while ftfy works: a character for private use, which no encoding damage gives."""


def apply(text: str) -> str:
    """The text with its mojibake undone."""
    if text.isascii():
        return text
    if "â€" in text:
        text = text.replace(_BARE + _BARE, f"{TABLE[-1][1]}{_BARE}")  # before `â€œ` becomes what looks like a third byte
        for wrong, right in TABLE[:-1]:
            text = text.replace(wrong, right)
        if _BARE in text:
            text = _BARE_PATTERN.sub(TABLE[-1][1], text)
    if _unknown(text) and _SUSPECT.search(text):
        return _fixed(text)
    return text


def _fixed(text: str) -> str:
    """The text with ftfy's repairs, but for letters that stand for themselves."""
    import ftfy

    letters = [] if _HELD in text else _OWN.findall(text)
    if not letters:
        return str(ftfy.fix_encoding(text))
    pieces = str(ftfy.fix_encoding(_OWN.sub(_HELD, text))).split(_HELD)
    return "".join(piece + letter for piece, letter in zip(pieces, [*letters, ""], strict=True))


def _unknown(text: str) -> bool:
    """Whether the text holds more than ASCII and the marks that the table leaves; replacing is faster than any pattern."""
    for sound in "”“’—–‘…":
        if text.isascii():
            return False
        text = text.replace(sound, "")
    return not text.isascii()
