"""Text as ids arrive: what is printed is never taken back.

A token is printed once the three after it are known, or at the end. Under `casing="keep"` the result is `decode`'s.
Under `lower` it can differ from `decode` in one thing: `decode` also weighs what the story says *later* of the same
word (a name first met at a sentence's start), and the stream cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["StreamDecoder"]


class StreamDecoder:
    """Made by `WordTokenizer.stream_decoder`; serves one text."""

    def __init__(
        self,
        checked: Callable[[Sequence[int]], list[int]],
        pieces: Callable[[Sequence[int]], list[str]],
        look_ahead: int,
    ) -> None:
        self._checked, self._pieces = checked, pieces
        self._look_ahead = look_ahead
        self._ids: list[int] = []
        self._printed = 0

    def push(self, token_id: int) -> str:
        """Take one id; give the text that it settles (often none, sometimes several words)."""
        self._ids += self._checked([token_id])
        return self._settle(self._look_ahead)

    def finish(self) -> str:
        """The rest of the text."""
        return self._settle(0)

    def _settle(self, held_back: int) -> str:
        pieces = self._pieces(self._ids)
        settled = max(self._printed, len(pieces) - held_back)
        text = "".join(pieces[self._printed : settled])
        self._printed = settled
        return text
