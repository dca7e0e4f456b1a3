"""Learns the decoder's log-linear model from aligned stories: classes of words, weights, and how far to trust a story's own evidence.

What is *not* here: how a model is applied (`_decoder`), and what a feature is (`_kernels`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ._decoder import CAPITAL, LOWER, OTHER, PAST, TOLD, UNIT, UPPER, WHOLE, Story, kinds_of, pack
from ._kernels import kernels
from ._kernels.plain import CASE_FEATURES, CASELESS, SPACE_FEATURES, STORY_FEATURES, WORD
from .schemas import DecoderSpec

__all__ = ["fit"]

MIN_COUNT = 2
EPOCHS = 5
SPACE_RATE, CASE_RATE, STORY_RATE = 0.5, 0.2, 0.05
"""The best of those tried by cross-validation over the real stories: what a blank follows is nearly a rule, a capital is not."""
SPACE_DECAY, CASE_DECAY = 1e-6, 1e-4
UPPER_EPOCHS = 2  # few words are ever all capitals
PARTS, MANY = 4, 4_000
"""The case of each story is scored by weights learned without its quarter: that is what new stories will look like. From so
many stories on, half of them teach as well, in a third of the time."""
UNSURE = 8 * UNIT
"""Beyond this score no other place of the word changes a decision, and nothing is to be learned of it."""
SMALLEST = UNIT // 16  # weights below 1/16 nat are dropped: they make the file, not the decisions

Table = tuple[np.ndarray, np.ndarray]
"""Keys in rising order, and whole-number weights [keys, 2]."""


def fit(stories: Sequence[Story], vocab: Sequence[str]) -> DecoderSpec:
    """Learn from aligned stories."""
    if not stories:
        return DecoderSpec()
    classes = _classes(stories, vocab)
    corpus = _Corpus.of(stories, vocab, kinds_of(vocab, classes))
    space = _space(corpus)
    case, scores = _case(corpus)
    with ThreadPoolExecutor(2) as pool:
        parts = [space, case, *pool.map(lambda mode: _story(corpus, scores, mode), (WHOLE, PAST, TOLD))]
    keys, weights = (np.concatenate(column) for column in zip(*parts, strict=True))  # templates keep the parts apart
    return DecoderSpec(classes=pack(classes, "<u1"), keys=pack(keys, "<i8"), weights=pack(weights, "<i2"))


@dataclass(frozen=True)
class _Corpus:
    """All stories in a row."""

    stories: Sequence[Story]
    kinds: np.ndarray
    unk: int
    ids: np.ndarray
    blanks: np.ndarray
    cases: np.ndarray
    story: np.ndarray
    """The number of each token's story."""
    open_case: np.ndarray
    """Whether a token's case is to be guessed."""

    @classmethod
    def of(cls, stories: Sequence[Story], vocab: Sequence[str], kinds: np.ndarray) -> _Corpus:
        ids, blanks, cases = (np.concatenate([getattr(story, name) for story in stories]) for name in ("ids", "blanks", "cases"))
        sizes = np.array([len(story.ids) for story in stories])
        unk = len(vocab) - 2
        open_case = (ids != unk) & (kinds[ids] & CASELESS == 0) & (cases != OTHER)
        return cls(stories, kinds, unk, ids, blanks, cases, np.repeat(np.arange(len(stories)), sizes), open_case)

    def features(self, *, space: int = 0, case: int = 0) -> np.ndarray:
        """int64 [tokens, features]: those of the blanks or those of the capitals, never both at once: they are large."""
        rows = np.zeros((len(self.ids), space or case), dtype=np.int64)
        nothing = np.zeros((0, 1), dtype=np.int64)
        start = 0
        for story in self.stories:
            here = rows[start : start + len(story.ids)]
            both = (here, nothing) if space else (nothing, here)
            kernels().features(story.ids, story.blanks, self.kinds, self.unk + 1, *both)
            start += len(story.ids)
        return rows


# --- classes of words --------------------------------------------------------------------------


def _classes(stories: Sequence[Story], vocab: Sequence[str]) -> np.ndarray:
    """Four classes of each word, uint8 [4, vocab]: 0 where it was not seen enough, else steps of a share.

    How often it is capital behind a word; how often it tells who speaks (stands behind speech, in a clause that goes on with
    the sentence); how often it has no blank before it; how often none behind it.
    """
    kinds = kinds_of(vocab, np.zeros(0, dtype=np.int64))
    seen = np.zeros((6, len(vocab)))
    comma, quote = (vocab.index(mark) if mark in vocab else -1 for mark in (",", '"'))
    for story in stories:
        ids, joined = story.ids, story.blanks[1:] == 0
        inside = np.zeros(len(ids), dtype=bool)
        inside[1:] = kinds[ids[:-1]] & WORD != 0
        np.add.at(seen[0], ids[inside], 1)
        np.add.at(seen[1], ids[inside], story.cases[inside] != LOWER)
        np.add.at(seen[2], ids, 1)
        np.add.at(seen[4], ids[1:], joined)
        np.add.at(seen[5], ids[:-1], joined)
        for start in _tags(story, comma, quote):
            for token in ids[start : start + 4].tolist():
                if not kinds[token] & WORD:
                    break
                seen[3, token] += 1
    glued = [0.02, 0.3, 0.7, 0.98]
    return np.stack(
        [
            _steps(seen[1], seen[0], 1, [0.02, 0.2, 0.8, 0.98]),
            _steps(seen[3], seen[2], 2, [0.03, 0.08, 0.2, 0.4]),
            _steps(seen[4], seen[2], 5, glued),
            _steps(seen[5], seen[2], 5, glued),
        ]
    )


def _tags(story: Story, comma: int, quote: int) -> list[int]:
    """Where a clause like `said Tom` begins: behind a closing quotation mark, and a comma before it or no capital after."""
    close = np.flatnonzero((story.ids[1:-1] == quote) & (story.blanks[1:-1] == 0)) + 2
    found: list[int] = close[(story.ids[close - 2] == comma) | (story.cases[close] == LOWER)].tolist()
    return found


def _steps(part: np.ndarray, whole: np.ndarray, least: int, bounds: list[float]) -> np.ndarray:
    found: np.ndarray = np.where(whole < least, 0, 1 + np.searchsorted(bounds, part / np.maximum(whole, 1)))
    return found.astype(np.int64)


# --- weights -----------------------------------------------------------------------------------


def _space(corpus: _Corpus) -> Table:
    """Weights of the blanks."""
    rows = np.ones(len(corpus.ids), dtype=bool)
    rows[np.flatnonzero(np.diff(corpus.story, prepend=-1))] = False  # none stands before a story's first token
    keys, numbered = _number(corpus.features(space=SPACE_FEATURES)[rows])
    weights = _learn(numbered, len(keys), corpus.blanks[rows] == 1, SPACE_RATE, SPACE_DECAY)
    return _whole(keys, weights, np.zeros_like(weights))


def _case(corpus: _Corpus) -> tuple[Table, np.ndarray]:
    """Weights of the capitals, and each token's score for one by weights that never saw its story, in 1/1024 nat."""
    keys, numbered = _number(corpus.features(case=CASE_FEATURES)[corpus.open_case])
    cases = corpus.cases[corpus.open_case]
    parts = PARTS if len(corpus.stories) < MANY else 2
    part = (corpus.story * parts // len(corpus.stories))[corpus.open_case]
    every = np.ones(len(cases), dtype=bool)

    def learned(rows: np.ndarray, case: int) -> np.ndarray:
        epochs = EPOCHS if case == CAPITAL else UPPER_EPOCHS
        return _learn(numbered, len(keys), cases == case, CASE_RATE, CASE_DECAY, epochs=epochs, rows=rows)

    jobs = [(every, CAPITAL), (every, UPPER), *((part != n, CAPITAL) for n in range(parts))]
    capital, upper, *others = _side_by_side(learned, jobs)
    scores = np.zeros(len(cases))
    for n, weights in enumerate(others):
        scores[part == n] = np.concatenate([[0.0], weights])[numbered[part == n]].sum(axis=1)
    spread = np.zeros(len(corpus.ids), dtype=np.int64)
    spread[corpus.open_case] = np.rint(scores * UNIT)
    return _whole(keys, capital, upper), spread


def _story(corpus: _Corpus, scores: np.ndarray, mode: int) -> Table:
    """Weights of what a story says of the same word elsewhere, beside the scores."""
    rows = np.full((len(corpus.ids), STORY_FEATURES), -1, dtype=np.int64)
    nothing = (np.full(1, -1, dtype=np.int64), np.zeros((1, 2), dtype=np.int64))
    start = 0
    for story in corpus.stories:
        here = slice(start, start + len(story.ids))
        three = np.zeros((len(story.ids), 3), dtype=np.int64)
        three[:, 1] = scores[here]
        told = np.column_stack([story.blanks, story.cases])
        kernels().weigh_story(story.ids, told, corpus.kinds, corpus.unk, *nothing, UNIT, mode, three, rows[here])
        start += len(story.ids)
    unsure = corpus.open_case & (np.abs(scores) < UNSURE)
    keys, numbered = _number(rows[unsure])
    labels, known = (corpus.cases == CAPITAL)[unsure], scores[unsure] / UNIT
    weights = _learn(numbered, len(keys), labels, STORY_RATE, CASE_DECAY, offsets=known)
    return _whole(keys, weights, np.zeros_like(weights))


def _side_by_side(work: Callable[[np.ndarray, int], np.ndarray], jobs: Sequence[tuple[np.ndarray, int]]) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(min(len(jobs), os.cpu_count() or 1)) as pool:
        yield from pool.map(lambda job: work(*job), jobs)


def _number(rows: np.ndarray) -> Table:
    """The keys that stand in `rows` often enough, and the rows by the keys' numbers from 1, int32; 0 for the others."""
    encoded = pa.array(rows.reshape(-1)).dictionary_encode()  # by hashing: sorting millions of keys takes ten times as long
    keys, places = encoded.dictionary.to_numpy(), encoded.indices.to_numpy()
    kept = (np.bincount(places, minlength=len(keys)) >= MIN_COUNT) & (keys >= 0)
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return keys[kept], number[places].reshape(rows.shape)


def _learn(
    numbered: np.ndarray,
    keys: int,
    labels: np.ndarray,
    rate: float,
    decay: float,
    *,
    epochs: int = EPOCHS,
    rows: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
) -> np.ndarray:
    """The weight of each key."""
    chosen = np.arange(len(labels)) if rows is None else np.flatnonzero(rows)
    order = np.random.default_rng(0).permutation(chosen)
    known = np.zeros(len(labels)) if offsets is None else offsets
    weights, squares = np.zeros(keys + 1), np.ones(keys + 1)
    kernels().learn(numbered, order, known, labels.astype(np.float64), weights, squares, rate, decay, epochs)
    return weights[1:]


def _whole(keys: np.ndarray, *columns: np.ndarray) -> Table:
    """The keys whose weights matter, in rising order, with the weights as whole numbers."""
    whole = np.column_stack([np.clip(np.rint(column * UNIT), -32_000, 32_000).astype(np.int64) for column in columns])
    strong = (np.abs(whole) >= SMALLEST).any(axis=1)
    keys, whole = keys[strong], whole[strong]
    rising = np.argsort(keys)
    return keys[rising], whole[rising]
