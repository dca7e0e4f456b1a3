"""Ids to book text: where blanks stand and what is capital, by a log-linear model that `_decoder_fit` learns from train.

Evidence is the neighbours (three before, three after), the quotes that stand open by what was decided before, and for
capitals what the story says of the same word elsewhere. Weights are whole numbers, so a decision is the same on every
machine, with Numba or without. What is *not* here: the vocabulary's strings, and the markers of `casing="keep"`.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..fast import loops
from ..fast.loops import APOSTROPHE, BREAK, CASELESS, LOOK_AHEAD, NEVER, QUOTE, WORD
from ..schemas import SPECIALS, DecoderSpec

__all__ = [
    "CAPITAL",
    "LOOK_AHEAD",
    "LOWER",
    "OTHER",
    "UPPER",
    "Decoder",
    "Stories",
    "Story",
    "Walk",
    "case_of",
    "cased",
    "kinds_of",
    "pack",
    "unpack",
]

LOWER, CAPITAL, UPPER, OTHER = 0, 1, 2, 3
WHOLE, PAST, TOLD = 0, 1, 2
"""Evidence from the whole story, from what was decoded before, or from the case that was told before."""

UNIT = 1024
CLIP = 9 * UNIT
"""Beyond this (one error in 8,000) the model is not believed when bits are priced."""


@dataclass(frozen=True)
class Story:
    """One aligned story: ids, 1 where a blank stands before a token, and each token's class of case."""

    ids: np.ndarray
    blanks: np.ndarray
    cases: np.ndarray


@dataclass(frozen=True)
class Stories:
    """Aligned stories in a row, as int64 [tokens] but for `lengths` [stories]."""

    ids: np.ndarray
    blanks: np.ndarray
    """1 where a blank stands before a token, never before a story's first."""
    cases: np.ndarray
    """Each token's class of case."""
    lengths: np.ndarray
    where: np.ndarray
    """Each token's place in `surfaces`."""
    surfaces: list[str]
    """Tokens as they are written."""

    @property
    def bounds(self) -> list[int]:
        """Where the stories begin, and last where the last one ends."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).tolist()  # type: ignore[no-any-return]

    @property
    def owners(self) -> np.ndarray:
        """The number of each token's story."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of the tokens' values, a story each."""
        return np.bincount(self.owners, values, len(self.lengths))


def case_of(surface: str, token: str) -> int:
    """The class of case that turns `token` into `surface`; `OTHER` where none does."""
    if surface == token:
        return LOWER
    if surface == cased(token, CAPITAL):
        return CAPITAL
    return UPPER if surface == cased(token, UPPER) else OTHER


def cased(token: str, case: int) -> str:
    """A token in a class of case."""
    if case == UPPER:
        return token.upper()
    return token[:1].upper() + token[1:] if case == CAPITAL else token


class Decoder:
    """Guesses the blank before, and the case of, each token of a story."""

    def __init__(self, spec: DecoderSpec, vocab: Sequence[str]) -> None:
        self._none, self._unk = len(vocab) - 1, len(vocab) - 2
        self._parity = spec.quotes == "parity"
        self._kinds = kinds_of(vocab, unpack(spec.classes, "<u1"))
        self._keys, self._weights = _table(unpack(spec.keys, "<i8"), unpack(spec.weights, "<i2").reshape(-1, 2))

    def scores(self, ids: np.ndarray, mode: int = WHOLE, told: np.ndarray | None = None) -> np.ndarray:
        """[tokens, 3]: for a blank, a capital, all capitals, against none of it, in 1/1024 nat.

        `told` [tokens, 2] holds the blanks and cases that are known, -1 where none is; a score knows those before it.
        """
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        told = np.full((len(ids), 2), -1, dtype=np.int64) if told is None else np.ascontiguousarray(told, dtype=np.int64)
        scores = np.zeros((len(ids), 3), dtype=np.int64)
        loops.score_story(
            ids, told, self._kinds, self._none, self._unk, self._keys, self._weights, UNIT, mode, self._parity, scores
        )
        return scores

    def guess(self, ids: np.ndarray, mode: int = WHOLE, told: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Blank before (0 or 1) and class of case of each token, int64 [tokens], as the scores have it."""
        return choose(self.scores(ids, mode, told))

    def retell(self, ids: np.ndarray, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Like `guess` from left to right, with some decisions told: those are kept as they are."""
        return kept(told, *self.guess(ids, TOLD, told))

    def walk(self) -> Walk:
        """The decisions for one text token by token; the same as `guess` in mode `PAST` and `retell`."""
        return Walk(self)

    def bits(self, stories: Stories) -> tuple[np.ndarray, np.ndarray]:
        """Bits to tell the blanks and cases of each story from its ids, and where no class of case does (`OTHER`) [tokens]."""
        ids, cases, bounds = stories.ids, stories.cases, stories.bounds
        told = np.column_stack([stories.blanks, np.full(len(ids), -1)])
        scores = np.zeros((len(ids), 3))
        for start, end in itertools.pairwise(bounds):
            scores[start:end] = self.scores(ids[start:end], WHOLE, told[start:end])
        scores = np.clip(scores, -CLIP, CLIP) / UNIT
        nats = np.logaddexp(0.0, np.where(stories.blanks == 1, -scores[:, 0], scores[:, 0]))
        nats[[start for start, end in itertools.pairwise(bounds) if end > start]] = 0.0  # no blank stands before a story
        open_case = (ids != self._unk) & (self._kinds[ids] & CASELESS == 0)
        logits = np.column_stack([np.zeros(len(scores)), scores[:, 1:], np.full(len(scores), -CLIP / UNIT)])[open_case]
        nats[open_case] += np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(logits)), cases[open_case]]
        return stories.sums(nats) / np.log(2), open_case & (cases == OTHER)


class Walk:
    """Decides one text from left to right, each token once, when the three after it are known or at the end."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._state = np.array([0, 1, decoder._none, 0, 0], dtype=np.int64)
        self._board = np.zeros((7, len(decoder._kinds)), dtype=np.int64)
        self._board[3:5], self._board[5:7] = -NEVER, NEVER
        self._ids, self._told = np.zeros(64, dtype=np.int64), np.full((64, 2), -1, dtype=np.int64)
        self._scores = np.zeros((64, 3), dtype=np.int64)
        self.known = self.decided = 0

    def add(self, token: int, told: Sequence[int] = (-1, -1)) -> None:
        """Take the next token, and what was told of its blank and case (-1: nothing)."""
        if self.known == len(self._ids):
            for name in ("_ids", "_told", "_scores"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        self._ids[self.known], self._told[self.known] = token, told
        self.known += 1

    def decide(self, until: int, mode: int) -> list[tuple[int, int, int]]:
        """(token, blank, case) of the tokens that were not decided yet, up to before `until`."""
        own = self._decoder
        first, until = self.decided, max(self.decided, until)
        ids, told, scores = (array[: self.known] for array in (self._ids, self._told, self._scores))
        given = (own._kinds, own._none, own._unk, own._keys, own._weights, UNIT, mode, own._parity)
        loops.score_next(ids, told, *given, first, until, self._state, self._board, scores)
        self.decided = until
        rows = slice(first, until)
        blanks, cases = kept(told[rows], *choose(scores[rows]))
        return list(zip(ids[rows].tolist(), blanks.tolist(), cases.tolist(), strict=True))


def kept(told: np.ndarray, blanks: np.ndarray, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The decisions, but for those that were told."""
    return np.where(told[:, 0] >= 0, told[:, 0], blanks), np.where(told[:, 1] >= 0, told[:, 1], cases)


def choose(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores to decisions."""
    case = np.where(scores[:, 2] > np.maximum(scores[:, 1], 0), UPPER, np.where(scores[:, 1] > 0, CAPITAL, LOWER))
    return (scores[:, 0] > 0).astype(np.int64), case.astype(np.int64)


def kinds_of(vocab: Sequence[str], classes: np.ndarray) -> np.ndarray:
    """What the loops know of each token, int64 [vocab]: its four classes (`DecoderSpec.classes`) and what it is made of."""
    kinds = np.zeros(len(vocab), dtype=np.int64)
    for shift, row in zip((0, 8, 11, 14), classes.reshape(-1, len(vocab)), strict=False):
        kinds |= row << shift
    for i, token in enumerate(vocab):
        flag = {'"': QUOTE, "'": APOSTROPHE}.get(token, BREAK if "\n" in token else 0)
        flag |= WORD if token[:1].isalnum() else 0
        kinds[i] |= flag | (CASELESS if token == token.upper() or token in SPECIALS else 0)
    kinds[len(vocab) - 2] |= WORD  # <unk> is a word more often than not
    return kinds


# --- keeping -----------------------------------------------------------------------------------


def _table(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An open-addressed table, half full at most."""
    size = 1 << (2 * len(keys)).bit_length()
    slots, values = np.full(size, -1, dtype=np.int64), np.zeros((size, 2), dtype=np.int32)
    loops.fill_table(keys, weights, slots, values)
    return slots, values


def pack(array: np.ndarray, kind: str) -> str:
    """An array as base64 of its little-endian bytes."""
    return base64.b64encode(np.ascontiguousarray(array).astype(kind).tobytes()).decode("ascii")


def unpack(text: str, kind: str) -> np.ndarray:
    """What `pack` made, as int64, flat."""
    array = np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)
    return array.astype(np.int64)
