"""Text as ids arrive: what is printed is never taken back.

A token is printed once the three after it are known, or at the end. Under `casing="keep"` the result is `decode`'s.
Under `lower` it can differ from `decode` in one thing: `decode` also weighs what the story says *later* of the same
word (a name first met at a sentence's start), and the stream cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .markers import Markers
from .model import LOOK_AHEAD, PAST, TOLD, Walk

__all__ = ["StreamDecoder"]


class StreamDecoder:
    """Made by `WordTokenizer.stream_decoder`; serves one text. A token takes the same time however long the text is."""

    def __init__(
        self,
        checked: Callable[[Sequence[int]], list[int]],
        piece: Callable[[int, int, int], str],
        walk: Walk,
        markers: Markers | None,
    ) -> None:
        self._checked, self._piece = checked, piece
        self._walk, self._markers = walk, markers
        self._waiting = [-1, -1]

    def push(self, token_id: int) -> str:
        """Take one id; give the text that it settles (often none, sometimes several words)."""
        for i in self._checked([token_id]):
            if self._markers is None or not self._markers.take(i, self._waiting):
                self._walk.add(i, self._waiting)
                self._waiting = [-1, -1]
        return self._settle(self._walk.known - LOOK_AHEAD)

    def finish(self) -> str:
        """The rest of the text."""
        return self._settle(self._walk.known)

    def _settle(self, until: int) -> str:
        if until <= self._walk.decided:
            return ""
        decisions = self._walk.decide(until, PAST if self._markers is None else TOLD)
        return "".join(self._piece(*decision) for decision in decisions)
