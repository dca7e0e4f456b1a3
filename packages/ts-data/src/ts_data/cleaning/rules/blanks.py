"""One blank between words and none at the ends: runs of blanks, tabs, line breaks and Unicode spaces become one space.

`whitespace` removes paragraph breaks too: at word level they carry no token, and decoding could not restore them. `paragraphs` keeps
them; use it in place of `whitespace`.
"""

import re

import numpy as np

from ...arrow import blanks

_BREAK = re.compile(r"\n[^\S\n]*\n\s*")


def whitespace(text: str) -> str:
    """Return the text with single spaces."""
    return " ".join(text.split())


def whitespace_at_once(content: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for many ASCII texts: text i is `content[ends[i]:ends[i + 1]]`. Returns content, ends, and which texts have changed."""
    blank = blanks(content)
    gone = blank.copy()  # of each run of blanks all but the first, and the runs at both ends of a text
    gone[1:] &= blank[:-1]
    filled = ends[1:] > ends[:-1]
    first, last = ends[:-1][filled], ends[1:][filled] - 1
    gone[first] = blank[first]
    while len(last):
        at_end = blank[last] & (last >= first)
        first, last = first[at_end], last[at_end]
        gone[last] = True
        last -= 1
    places = np.flatnonzero(gone | (blank & (content != ord(" "))))
    away = gone[places]
    new = content.copy()
    new[places] = np.where(away, ord("\n"), ord(" "))  # every other line break becomes a space
    kept = np.frombuffer(new.tobytes().replace(b"\n", b""), np.uint8)
    touched = np.diff(np.searchsorted(places, ends)) > 0
    return kept, ends - np.searchsorted(places[away], ends), touched


def paragraphs(text: str) -> str:
    r"""Return the text with single spaces, and `\n\n` between paragraphs."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2029", "\n\n")
    return "\n\n".join(filter(None, (" ".join(part.split()) for part in _BREAK.split(lines))))
