"""`casing="keep"`: markers in the ids where the detokenizer would be wrong.

Markers precede the token that they correct: first the one for the blank, then the one for the case. A prediction uses the next
three tokens and the known cases of earlier occurrences of the word, so it is the same while a text streams.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from .model import CAPITAL, FIXED, LOWER, UPPER, Decoder, Story


class Markers:
    """The ids of the markers and their meaning."""

    def __init__(self, token_to_id: Mapping[str, int]) -> None:
        self._blank = {token_to_id["<join>"]: 0, token_to_id["<space>"]: 1}
        self._case = {token_to_id["<lower>"]: LOWER, token_to_id["<cap>"]: CAPITAL, token_to_id["<upper>"]: UPPER}
        self._for_blank = {fixed: i for i, fixed in self._blank.items()}
        self._for_case = {fixed: i for i, fixed in self._case.items()}

    def write(self, story: Story, decoder: Decoder, unk: int) -> list[list[int]]:
        """The markers before each token of a story."""
        fixed = np.column_stack([story.blanks, story.cases])
        blanks, cases = decoder.predict(story.ids, FIXED, fixed)
        found: list[list[int]] = []
        for i, token in enumerate(story.ids.tolist()):
            marks = [self._for_blank[int(story.blanks[i])]] if blanks[i] != story.blanks[i] else []
            if token != unk and cases[i] != story.cases[i]:
                marks.append(self._for_case[int(story.cases[i])])
            found.append(marks)
        return found

    def take(self, i: int, waiting: list[int]) -> bool:
        """Whether an id is a marker; its meaning is stored in `waiting` [blank, case]."""
        if i in self._blank:
            waiting[0] = self._blank[i]
        elif i in self._case:
            waiting[1] = self._case[i]
        else:
            return False
        return True

    def read(self, ids: Iterable[int]) -> tuple[list[int], np.ndarray]:
        """The tokens without markers, and the known (blank, case) of each, -1 for unknown.

        The last marker of a kind wins; a marker without a following token is ignored.
        """
        tokens: list[int] = []
        fixed: list[list[int]] = []
        waiting = [-1, -1]
        for i in ids:
            if not self.take(i, waiting):
                tokens.append(i)
                fixed.append(waiting)
                waiting = [-1, -1]
        return tokens, np.array(fixed, dtype=np.int64).reshape(len(tokens), 2)
