"""`casing="keep"`: markers in the ids where the decoder's own guess would be wrong. It holds no model of its own.

A marker stands before the token that it corrects, first the one for the blank, then the one for the case. The guess at
a token sees three tokens further and the case, as told, of the same word before; so it is the same while a text streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .model import CAPITAL, LOWER, TOLD, UPPER, Decoder, Story

__all__ = ["Markers"]


class Markers:
    """The markers' ids, and what each tells."""

    def __init__(self, token_to_id: Mapping[str, int]) -> None:
        self._blank = {token_to_id["<join>"]: 0, token_to_id["<space>"]: 1}
        self._case = {token_to_id["<lower>"]: LOWER, token_to_id["<cap>"]: CAPITAL, token_to_id["<upper>"]: UPPER}
        self._for_blank = {told: i for i, told in self._blank.items()}
        self._for_case = {told: i for i, told in self._case.items()}

    def write(self, story: Story, decoder: Decoder, unk: int) -> list[list[int]]:
        """For each token of a story the markers that must stand before it."""
        told = np.column_stack([story.blanks, story.cases])
        blanks, cases = decoder.guess(story.ids, TOLD, told)
        found: list[list[int]] = []
        for i, token in enumerate(story.ids.tolist()):
            marks = [self._for_blank[int(story.blanks[i])]] if blanks[i] != story.blanks[i] else []
            if token != unk and cases[i] != story.cases[i]:
                marks.append(self._for_case[int(story.cases[i])])
            found.append(marks)
        return found

    def take(self, i: int, waiting: list[int]) -> bool:
        """Whether an id is a marker; what it tells goes into `waiting` [blank, case]."""
        if i in self._blank:
            waiting[0] = self._blank[i]
        elif i in self._case:
            waiting[1] = self._case[i]
        else:
            return False
        return True

    def read(self, ids: Iterable[int]) -> tuple[list[int], np.ndarray]:
        """The tokens without markers, and what was told of each (blank, case), -1 where nothing was.

        The last marker of a kind counts; one with no token behind it says nothing.
        """
        tokens: list[int] = []
        told: list[list[int]] = []
        waiting = [-1, -1]
        for i in ids:
            if not self.take(i, waiting):
                tokens.append(i)
                told.append(waiting)
                waiting = [-1, -1]
        return tokens, np.array(told, dtype=np.int64).reshape(len(tokens), 2)
