"""Streaming decode: returns text as ids arrive and never revises it.

A token is returned when the next three are known, or at the end. With `casing="keep"` the result equals `decode`. With `lower` it
can differ in the case of a word: `decode` also uses later occurrences of the word (a name that first starts a sentence), and
decides the unsure occurrences of a word together.
"""

from collections.abc import Callable, Sequence

from ..fast.loops import LOOK_AHEAD
from .markers import Markers
from .model import FIXED, PAST, Walk


class StreamDecoder:
    """Created by `WordTokenizer.stream_decoder`; decodes one text. The time per token does not depend on the text's length."""

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
        """Add one id and return the text that becomes final (often none, sometimes several words)."""
        for i in self._checked([token_id]):
            if self._markers is None or not self._markers.take(i, self._waiting):
                self._walk.add(i, self._waiting)
                self._waiting = [-1, -1]
        return self._settle(self._walk.known - LOOK_AHEAD)

    def finish(self) -> str:
        """Return the rest of the text."""
        return self._settle(self._walk.known)

    def _settle(self, until: int) -> str:
        if until <= self._walk.decided:
            return ""
        decisions = self._walk.decide(until, PAST if self._markers is None else FIXED)
        return "".join(self._piece(*decision) for decision in decisions)
