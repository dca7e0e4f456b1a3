"""Fits the detokenizer from aligned stories: word classes, feature weights, and weights of a story's own evidence.

`model` applies the result; `fast.loops` defines the features.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..fast import loops
from ..fast.loops import APOSTROPHE, CASE_ALIKE, CASE_FEATURES, CASELESS, QUOTE, SPACE_FEATURES, STORY_FEATURES, WORD
from ..schemas import DecoderSpec
from .log_linear import number
from .model import CAPITAL, FIXED, LOWER, OTHER, PAST, UNIT, UPPER, WHOLE, Stories, kinds_of, pack

__all__ = ["fit"]

EPOCHS = 5
SPACE_RATE, CASE_RATE, STORY_RATE = 0.5, 0.2, 0.05
"""Chosen by cross-validation over the real stories: blanks are nearly deterministic, capitals are not."""
SPACE_DECAY, CASE_DECAY = 1e-6, 1e-4
UPPER_EPOCHS = 2  # all capitals are rare
PARTS, MANY = 4, 4_000
"""Each story's case is scored by weights fitted without its quarter, as for new stories. With at least `MANY` stories, halves are
as good and take a third of the time."""
UNSURE = 8 * UNIT
"""Above this score other occurrences of the word do not change a decision, so the token is not used for fitting."""
SMALLEST = UNIT // 16  # smaller weights are dropped: they fill the file without changing decisions

Table = tuple[np.ndarray, np.ndarray]
"""Keys in ascending order, and integer weights [keys, 2]."""


def fit(stories: Stories, vocab: Sequence[str]) -> DecoderSpec:
    """Fit a detokenizer to aligned stories."""
    if not len(stories.ids):
        return DecoderSpec()
    classes = _classes(stories, vocab)
    corpus = _Corpus.of(stories, kinds_of(vocab, classes), unk=len(vocab) - 2)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        space = pool.submit(_space, corpus)
        case, scores = _case(corpus, pool)
        evidence = pool.map(lambda mode: _story(corpus, scores, mode), (WHOLE, PAST, FIXED))
        parts = [space.result(), case, *evidence]
    keys, weights = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )  # templates make the keys of the parts distinct
    return DecoderSpec(classes=pack(classes, "<u1"), keys=pack(keys, "<i8"), weights=pack(weights, "<i2"))


@dataclass(frozen=True)
class _Corpus:
    """The stories, and the kind of each token."""

    stories: Stories
    kinds: np.ndarray
    unk: int
    open_case: np.ndarray
    """Whether a token's case is predicted."""

    @classmethod
    def of(cls, stories: Stories, kinds: np.ndarray, *, unk: int) -> _Corpus:
        open_case = (stories.ids != unk) & (kinds[stories.ids] & CASELESS == 0) & (stories.cases != OTHER)
        return cls(stories, kinds, unk, open_case)

    def features(self, rows: np.ndarray, *, space: int = 0, case: int = 0) -> np.ndarray:
        """int64 [features, rows] of blanks or of capitals for the tokens selected by `rows`, bool [tokens]."""
        columns = np.empty((space or case, rows.sum()), dtype=np.int64)
        nothing = np.empty((0, 0), dtype=np.int64)
        both = (columns, nothing) if space else (nothing, columns)
        places = np.where(rows, np.cumsum(rows) - 1, -1)
        stories = self.stories
        loops.features(stories.ids, stories.blanks, np.array(stories.bounds), places, self.kinds, self.unk + 1, *both)
        return columns


# --- classes of words --------------------------------------------------------------------------


def _classes(stories: Stories, vocab: Sequence[str]) -> np.ndarray:
    """Four classes of each word, uint8 [4, vocab]: 0 if it is too rare, else the bin of a share.

    The shares: capital after a word; in a clause after speech that names the speaker; no blank before it; no blank after it
    (both not counted beside quotation marks).
    """
    ids, cases, owners = stories.ids, stories.cases, stories.owners
    kinds = kinds_of(vocab, np.zeros(0, dtype=np.int64))
    word, quote = kinds & WORD != 0, kinds & (QUOTE | APOSTROPHE) != 0
    same = owners[1:] == owners[:-1]
    before, behind = same & ~quote[ids[:-1]], same & ~quote[ids[1:]]  # words beside quotes say nothing about the word
    joined = stories.blanks[1:] == 0
    inside = np.concatenate([[False], same & word[ids[:-1]]])

    def count(tokens: np.ndarray) -> np.ndarray:
        return np.bincount(tokens, minlength=len(vocab))

    glued = [0.02, 0.3, 0.7, 0.98]
    return np.stack(
        [
            _steps(count(ids[inside & (cases != LOWER)]), count(ids[inside]), 1, [0.02, 0.2, 0.8, 0.98]),
            _steps(count(ids[_telling(stories, vocab, word)]), count(ids), 2, [0.03, 0.08, 0.2, 0.4]),
            _steps(count(ids[1:][before & joined]), count(ids[1:][before]), 5, glued),
            _steps(count(ids[:-1][behind & joined]), count(ids[:-1][behind]), 5, glued),
        ]
    )


def _telling(stories: Stories, vocab: Sequence[str], word: np.ndarray) -> np.ndarray:
    """Indices of the first words, at most four, of clauses like `said Tom`.

    Such a clause follows a closing quotation mark that has a comma before it or a lower-case word after it.
    """
    ids, owners = stories.ids, stories.owners
    comma, quote = (vocab.index(mark) if mark in vocab else -1 for mark in (",", '"'))
    begin = np.flatnonzero((ids[1:-1] == quote) & (stories.blanks[1:-1] == 0) & (owners[:-2] == owners[2:])) + 2
    begin = begin[(ids[begin - 2] == comma) | (stories.cases[begin] == LOWER)]
    found = []
    for ahead in range(4):
        places = np.minimum(begin + ahead, len(ids) - 1)
        begin = begin[(begin + ahead < len(ids)) & (owners[places] == owners[begin]) & word[ids[places]]]
        found.append(begin + ahead)
    return np.concatenate(found)


def _steps(part: np.ndarray, whole: np.ndarray, least: int, bounds: list[float]) -> np.ndarray:
    found: np.ndarray = np.where(whole < least, 0, 1 + np.searchsorted(bounds, part / np.maximum(whole, 1)))
    return found.astype(np.int64)


# --- weights -----------------------------------------------------------------------------------


def _space(corpus: _Corpus) -> Table:
    """Fit the weights of blanks."""
    rows = np.diff(corpus.stories.owners, prepend=-1) == 0  # a story's first token has none
    numbered = number(corpus.features(rows, space=SPACE_FEATURES))
    weights = numbered.learn(corpus.stories.blanks[rows], rate=SPACE_RATE, decay=SPACE_DECAY, epochs=EPOCHS)
    return _whole(numbered.keys, weights, np.zeros_like(weights))


def _case(corpus: _Corpus, pool: ThreadPoolExecutor) -> tuple[Table, np.ndarray]:
    """Fit the weights of capitals; also score each token by weights fitted without its story, in 1/1024 nat."""
    numbered = number(corpus.features(corpus.open_case, case=CASE_FEATURES), CASE_ALIKE)
    cases, owners = corpus.stories.cases[corpus.open_case], corpus.stories.owners[corpus.open_case]
    count = len(corpus.stories.lengths)
    parts = PARTS if count < MANY else 2
    part = owners * parts // count

    def learned(job: tuple[int, int]) -> np.ndarray:
        case, without = job
        epochs = EPOCHS if case == CAPITAL else UPPER_EPOCHS
        return numbered.learn(cases == case, rate=CASE_RATE, decay=CASE_DECAY, epochs=epochs, chosen=part != without)

    capital, upper, *others = pool.map(learned, [(CAPITAL, -1), (UPPER, -1), *((CAPITAL, n) for n in range(parts))])
    scores = np.zeros(len(cases))
    for n, weights in enumerate(others):
        scores[part == n] = numbered.scores(weights, part == n)
    spread = np.zeros(len(corpus.open_case), dtype=np.int64)
    spread[corpus.open_case] = np.rint(scores * UNIT)
    return _whole(numbered.keys, capital, upper), spread


def _story(corpus: _Corpus, scores: np.ndarray, mode: int) -> Table:
    """Fit the weights of other occurrences of the word in the story, given the scores."""
    stories = corpus.stories
    rows = np.full((len(scores), STORY_FEATURES), -1, dtype=np.int64)
    nothing = (np.full(1, -1, dtype=np.int64), np.zeros((1, 2), dtype=np.int64))
    three = np.column_stack([np.zeros_like(scores), scores, np.zeros_like(scores)])
    fixed = np.column_stack([stories.blanks, stories.cases])
    for start, end in itertools.pairwise(stories.bounds):
        own = slice(start, end)
        loops.add_story_scores(
            stories.ids[own], fixed[own], corpus.kinds, corpus.unk, *nothing, UNIT, mode, three[own], rows[own]
        )
    unsure = corpus.open_case & (np.abs(scores) < UNSURE)
    numbered = number(np.ascontiguousarray(rows[unsure].T))
    labels, known = (stories.cases == CAPITAL)[unsure], scores[unsure] / UNIT
    weights = numbered.learn(labels, rate=STORY_RATE, decay=CASE_DECAY, epochs=EPOCHS, offsets=known)
    return _whole(numbered.keys, weights, np.zeros_like(weights))


def _whole(keys: np.ndarray, *columns: np.ndarray) -> Table:
    """The keys with relevant weights, in ascending order, and the weights rounded to integers."""
    whole = np.column_stack([np.clip(np.rint(column * UNIT), -32_000, 32_000).astype(np.int64) for column in columns])
    strong = (np.abs(whole) >= SMALLEST).any(axis=1)
    keys, whole = keys[strong], whole[strong]
    rising = np.argsort(keys)
    return keys[rising], whole[rising]
