"""The detokenizer: predicts blanks and capitals of ids by a log-linear model, which `fit` learns.

Features are the neighbours (three before, three after), the quotes that are open by the decisions so far, and for capitals
the other occurrences of the same word in the story. Unsure occurrences of a word are decided together, and a word in all capitals
stays so where that is in doubt. Weights are integers, so decisions are the same on every machine, with or without Numba.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..fast import loops
from ..fast.loops import APOSTROPHE, BREAK, CASELESS, QUOTE, WORD
from ..schemas import SPECIALS, DecoderSpec
from .storage import ALL_CAPITALS, unpack, unpack_keys

LOWER, CAPITAL, UPPER, OTHER = 0, 1, 2, 3
WHOLE, PAST, FIXED = 0, 1, 2
"""Evidence of the same word: from the whole story, from tokens decoded before, or from known cases before."""

UNIT = 1024
CLIP = 9 * UNIT
"""Scores are clipped to this (one error in 8,000) when bits are computed."""


@dataclass(frozen=True)
class Story:
    """One aligned story: ids, 1 for a blank before the token, and each token's case class."""

    ids: np.ndarray
    blanks: np.ndarray
    cases: np.ndarray


@dataclass(frozen=True)
class Stories:
    """Aligned stories, concatenated, as int64 [tokens]; `lengths` is [stories]."""

    ids: np.ndarray
    blanks: np.ndarray
    """1 for a blank before the token, never for a story's first token."""
    cases: np.ndarray
    """Each token's case class."""
    lengths: np.ndarray
    where: np.ndarray
    """Each token's index in `surfaces`."""
    surfaces: list[str]
    """Tokens as written in the texts."""

    def some(self, chosen: np.ndarray) -> Stories:
        """The chosen stories, bool [stories]."""
        rows = chosen[self.owners]
        return Stories(self.ids[rows], self.blanks[rows], self.cases[rows], self.lengths[chosen], self.where[rows], self.surfaces)

    @property
    def bounds(self) -> list[int]:
        """The start of each story, and the end of the last."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).tolist()  # type: ignore[no-any-return]

    @property
    def owners(self) -> np.ndarray:
        """The story index of each token."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of token values per story."""
        return np.bincount(self.owners, values, len(self.lengths))


def case_of(surface: str, token: str) -> int:
    """The case class that turns `token` into `surface`; `OTHER` if none does."""
    if surface == token:
        return LOWER
    if surface == cased(token, CAPITAL):
        return CAPITAL
    return UPPER if surface == cased(token, UPPER) else OTHER


def cased(token: str, case: int) -> str:
    """A token in a case class."""
    if case == UPPER:
        return token.upper()
    return token[:1].upper() + token[1:] if case == CAPITAL else token


class Decoder:
    """Predicts the blank before each token and its case."""

    def __init__(self, spec: DecoderSpec, vocab: Sequence[str]) -> None:
        self._none, self._unk = len(vocab) - 1, len(vocab) - 2
        self._parity = spec.quotes == "parity"
        self._kinds = kinds_of(vocab, unpack(spec.classes, "<u1"))
        self._together, self._witness = spec.together, spec.witness
        self._given = (self._kinds, self._none, self._unk, *_open(spec), UNIT)
        """What every loop takes: the kind of each token, the id of none, that of `<unk>`, the table of weights, the unit of scores."""

    def scores(
        self, ids: np.ndarray, mode: int = WHOLE, fixed: np.ndarray | None = None, bounds: Sequence[int] | None = None
    ) -> np.ndarray:
        """int64 [tokens, 3]: log-odds of a blank, of a capital, of all capitals, in 1/1024 nat.

        `fixed` [tokens, 2] holds known blanks and cases, -1 for unknown; a score uses those of earlier tokens. `bounds`: where stories
        start, and the end of the last; None is one story.
        """
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        fixed = np.full((len(ids), 2), -1, dtype=np.int64) if fixed is None else np.ascontiguousarray(fixed, dtype=np.int64)
        scores = np.zeros((len(ids), 3), dtype=np.int64)
        places = np.array([0, len(ids)] if bounds is None else bounds)
        loops.score_whole(ids, fixed, places, *self._given, mode, self._parity, self._together, self._witness, scores)
        return scores

    def predict(self, ids: np.ndarray, mode: int = WHOLE, fixed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The most likely blank (0 or 1) and case class of each token, int64 [tokens]."""
        return choose(self.scores(ids, mode, fixed))

    def predict_rest(self, ids: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Like `predict` from left to right; known decisions are kept."""
        return kept(fixed, *self.predict(ids, FIXED, fixed))

    def bits(self, stories: Stories) -> tuple[np.ndarray, np.ndarray]:
        """Bits to encode the blanks and cases of each story given its ids, and a mask [tokens] of case class `OTHER`."""
        ids, cases, bounds = stories.ids, stories.cases, stories.bounds
        fixed = np.column_stack([stories.blanks, np.full(len(ids), -1)])
        scores = np.clip(self.scores(ids, WHOLE, fixed, bounds), -CLIP, CLIP) / UNIT
        nats = np.logaddexp(0.0, np.where(stories.blanks == 1, -scores[:, 0], scores[:, 0]))
        nats[[start for start, end in itertools.pairwise(bounds) if end > start]] = 0.0  # a story starts without a blank
        open_case = (ids != self._unk) & (self._kinds[ids] & CASELESS == 0)
        _, capital, upper = scores[open_case].T
        logits = [np.zeros(len(upper)), capital, upper, np.full(len(upper), -CLIP / UNIT)]
        nats[open_case] += functools.reduce(np.logaddexp, logits) - np.choose(cases[open_case], logits)
        return stories.sums(nats) / np.log(2), open_case & (cases == OTHER)


class Walk:
    """Decides one text from left to right; each token once, when the next three are known or at the end.

    The results are those of `Decoder.predict` in mode `PAST`, or of `predict_rest`.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._state = np.array([0, 1, decoder._none, 0, 0], dtype=np.int64)
        self._board = np.empty((len(decoder._kinds), 7), dtype=np.int64)
        loops.clear(self._board, np.arange(len(decoder._kinds)))
        self._ids, self._told = np.zeros(64, dtype=np.int64), np.full((64, 2), -1, dtype=np.int64)
        self._scores = np.zeros((64, 3), dtype=np.int64)
        self.known = self.decided = 0

    def add(self, token: int, fixed: Sequence[int] = (-1, -1)) -> None:
        """Append a token with its known blank and case (-1: unknown)."""
        if self.known == len(self._ids):
            for name in ("_ids", "_told", "_scores"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        self._ids[self.known], self._told[self.known] = token, fixed
        self.known += 1

    def decide(self, until: int, mode: int) -> list[tuple[int, int, int]]:
        """Decide the pending tokens before index `until`; return (token, blank, case) of each."""
        own = self._decoder
        first, until = self.decided, max(self.decided, until)
        ids, fixed, scores = (array[: self.known] for array in (self._ids, self._told, self._scores))
        loops.score_next(ids, fixed, *own._given, mode, own._parity, first, until, self._state, self._board, scores)
        self.decided = until
        rows = slice(first, until)
        blanks, cases = kept(fixed[rows], *choose(scores[rows]))
        return list(zip(ids[rows].tolist(), blanks.tolist(), cases.tolist(), strict=True))


def kept(fixed: np.ndarray, blanks: np.ndarray, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The decisions, with known ones taken from `fixed`."""
    return np.where(fixed[:, 0] >= 0, fixed[:, 0], blanks), np.where(fixed[:, 1] >= 0, fixed[:, 1], cases)


def choose(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores to decisions."""
    case = np.where(scores[:, 2] > np.maximum(scores[:, 1], 0), UPPER, np.where(scores[:, 1] > 0, CAPITAL, LOWER))
    return (scores[:, 0] > 0).astype(np.int64), case.astype(np.int64)


def kinds_of(vocab: Sequence[str], classes: np.ndarray) -> np.ndarray:
    """Bit fields of each token for the loops, int64 [vocab]: its four classes (`DecoderSpec.classes`) and its kind."""
    kinds = np.zeros(len(vocab), dtype=np.int64)
    for shift, row in zip((0, 8, 11, 14), classes.reshape(-1, len(vocab)), strict=False):
        kinds |= row << shift
    for i, token in enumerate(vocab):
        flag = {'"': QUOTE, "'": APOSTROPHE}.get(token, BREAK if "\n" in token else 0)
        flag |= WORD if token[:1].isalnum() else 0
        kinds[i] |= flag | (CASELESS if token == token.upper() or token in SPECIALS else 0)
    kinds[len(vocab) - 2] |= WORD  # <unk> is a word more often than not
    return kinds


# --- weights -----------------------------------------------------------------------------------

Table = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Keys, weights and tags; see `fast.loops._look_up`."""


def _open(spec: DecoderSpec) -> Table:
    """The hash table of the stored weights."""
    keys = unpack_keys(spec.templates, spec.keys)
    weights = unpack(spec.weights, f"<i{spec.weight_bytes}") * spec.step
    columns = keys >= ALL_CAPITALS
    distinct, rows = np.unique(keys & (ALL_CAPITALS - 1), return_inverse=True)
    table = np.zeros((len(distinct), 2), dtype=np.int64)
    table[rows, columns.astype(np.int64)] = weights
    return hash_table(distinct, table, room=8)  # an absent key then meets no other: a fifth of the time


def hash_table(keys: np.ndarray, weights: np.ndarray, *, room: int = 2) -> Table:
    """An open-addressed table of weights [keys, 2], with at least `room` slots for each key."""
    size = 1 << (room * len(keys)).bit_length()
    slots, values = np.full(size, -1, dtype=np.int64), np.zeros((size, 2), dtype=np.int32)
    loops.fill_table(keys, weights, slots, values)
    tags = np.zeros(size, dtype=np.uint8)
    loops.fill_tags(slots, tags)
    return slots, values, tags
