"""One blank between words, none at the ends: runs of blanks, tabs, line breaks and Unicode spaces become one blank.

Paragraph breaks go, too: at word level they carry no token, and decode could not bring them back. The step
`paragraphs` keeps them; put it in the place of this one.
"""

from __future__ import annotations

import numpy as np

from ..rules import ALWAYS

__all__ = ["TRIGGERS", "apply", "apply_all"]

TRIGGERS = ALWAYS

_OTHERS = (b"\n", b"\t", b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x1f")
"""What `str.split` takes for a blank in ASCII, but for the space."""


def apply(text: str) -> str:
    """The text with single blanks."""
    return " ".join(text.split())


def apply_all(content: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for many ASCII texts at once; what is not ASCII among them comes out as anything.

    Text i stands in `content` [bytes] from `ends[i]` to `ends[i + 1]`; it comes back like that, and with it which texts have changed.
    """
    spaced = content.tobytes()
    for other in _OTHERS:
        spaced = spaced.replace(other, b" ")
    new = np.frombuffer(spaced, np.uint8)
    blank = new == ord(" ")
    gone = blank.copy()
    gone[1:] &= blank[:-1]
    _outer(gone, blank, ends)
    places = np.flatnonzero(gone)
    before = np.searchsorted(places, ends)  # how many bytes go before each end
    turned = np.searchsorted(np.flatnonzero(new != content), ends)
    return new[~gone], ends - before, (np.diff(before) > 0) | (np.diff(turned) > 0)


def _outer(gone: np.ndarray, blank: np.ndarray, ends: np.ndarray) -> None:
    """Let the blanks at both ends of each text go; before, of each run of blanks all but the first do."""
    filled = ends[1:] > ends[:-1]
    first, last = ends[:-1][filled], ends[1:][filled] - 1
    gone[first] = blank[first]
    while len(last):
        at_end = blank[last] & (last >= first)
        first, last = first[at_end], last[at_end]
        gone[last] = True
        last -= 1
