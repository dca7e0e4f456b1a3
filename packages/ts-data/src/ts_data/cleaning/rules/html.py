"""Removes HTML: replaces character references by their characters and removes tags. Off by default; run it first.

Only names that HTML defines count, so `3 < 5`, `<3`, `<|endoftext|>` and `AT&T` stay. A block (`<p>`, `<br>`, `<li>`) becomes
a line break, emphasis (`<i>`, `<b>`) nothing. Comments, scripts and styles are removed with their content.
"""

import html
import re

_HIDDEN = re.compile(r"<!(--)|<(script|style|template)\b[^<>]*>", re.IGNORECASE)
_BLOCKS = (
    "address|article|aside|blockquote|body|br|center|dd|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|"
    "li|main|nav|ol|p|pre|section|table|tbody|td|tfoot|th|thead|title|tr|ul"
)
_INLINE = (
    "a|abbr|acronym|audio|b|big|button|cite|code|del|dfn|em|font|i|iframe|img|input|ins|kbd|label|link|mark|meta|noscript|object|"
    "option|q|s|samp|select|small|source|span|strike|strong|sub|sup|svg|textarea|time|tt|u|var|video|wbr"
)
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+)"""
_ATTRIBUTES = (
    rf"(?:\s+(?:[A-Za-z_:@][\w:.-]*\s*=\s*{_VALUE}|hidden|disabled|checked|selected|nowrap|noshade|controls|async|defer|open))*"
)
_TAG = re.compile(rf"</?(?:(?P<block>{_BLOCKS})|{_INLINE}){_ATTRIBUTES}\s*/?>|<!doctype\b[^<>]*>", re.IGNORECASE)
_POWER = re.compile(r"(?<=[0-9])<sup>(?=-?[0-9])", re.IGNORECASE)
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TWICE = re.compile(r"&amp;(?=#?[A-Za-z0-9]{2,8};)")


def apply(text: str) -> str:
    """Return the text without tags and character references."""
    if "<" in text:
        text = _TAG.sub(_break, _POWER.sub("^", _without_hidden(text)))
    if "&" in text:
        text = _REFERENCE.sub(_character, _TWICE.sub("&", text))
    return text


def _without_hidden(text: str) -> str:
    """Remove comments, scripts, styles and templates. One that is never closed stays; its end is searched only once."""
    pieces: list[str] = []
    done, unclosed = 0, set()
    for opening in _HIDDEN.finditer(text):
        name = opening[opening.lastindex or 0].casefold()
        if opening.start() < done or name in unclosed:
            continue
        closing = re.compile("-->" if name == "--" else rf"</{name}\s*>", re.IGNORECASE).search(text, opening.end())
        if closing is None:
            unclosed.add(name)
            continue
        pieces.append(text[done : opening.start()])
        done = closing.end()
    return "".join([*pieces, text[done:]])


def _break(match: re.Match[str]) -> str:
    return "\n" if match["block"] else ""


def _character(match: re.Match[str]) -> str:
    """Return the character of a reference; a reference without a character stays."""
    found = html.unescape(match[0])
    return match[0] if found == "\ufffd" or "\ud800" <= found <= "\udfff" else found
