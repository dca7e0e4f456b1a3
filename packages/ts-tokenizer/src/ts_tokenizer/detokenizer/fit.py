"""Fits the detokenizer from aligned stories: word classes, feature weights, and weights of a story's own evidence.

`model` applies the result; `fast.loops` defines the features; `storage` packs the weights.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..fast import loops
from ..fast.loops import APOSTROPHE, CASE_ALIKE, CASE_FEATURES, CASELESS, QUOTE, SPACE_FEATURES, STORY_FEATURES, UNSURE, WORD
from ..schemas import MARKERS, DecoderSpec
from .log_linear import number
from .model import CAPITAL, FIXED, LOWER, OTHER, PAST, UNIT, UPPER, WHOLE, Stories, hash_table, kinds_of
from .storage import ALL_CAPITALS, pack, pack_keys

EPOCHS = 5
SPACE_RATE, CASE_RATE, STORY_RATE = 0.5, 0.2, 0.05
"""Chosen by cross-validation over the real stories: blanks are nearly deterministic, capitals are not."""
SPACE_DECAY, CASE_DECAY = 1e-6, 1e-4
UPPER_EPOCHS = 2  # all capitals are rare
PARTS, MANY = 4, 4_000
"""Each story's case is scored by weights fitted without its quarter, as for new stories. With at least `MANY` stories, halves are
as good and take a third of the time."""
BASE_STORIES = 4_000
DOUBTFUL = 7 * UNIT
"""With more than `BASE_STORIES` stories, weights fitted on that many score the others, and only the others' tokens below `DOUBTFUL`
join the fit: few tokens, with nearly all errors."""
TOGETHER, WITNESS = 2 * UNIT, 4 * UNIT
"""Chosen on half of the training stories, by weights fitted on the other half."""
STEP = UNIT // 16
"""Weights are stored in a byte, in these steps; smaller ones are dropped."""
SPACE_MOST, CASE_MOST, UPPER_MOST, STORY_MOST = 7_000, 47_000, 1_500, 7_000
"""Features at most: twice as many, from the real stories, restore hardly more stories, and make the table larger than the CPU cache."""

Table = tuple[np.ndarray, np.ndarray]
"""Keys, and integer weights."""


def fit(stories: Stories, vocab: Sequence[str]) -> DecoderSpec:
    """Fit a detokenizer to aligned stories."""
    if not len(stories.ids):
        return DecoderSpec()
    classes = _classes(stories, vocab)
    corpus = _Corpus.of(stories, kinds_of(vocab, classes), unk=len(vocab) - 2)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scores, doubtful = _first_scores(corpus, pool)
        space = _space(corpus, doubtful[:, 0])
        case, scores = _case(corpus, doubtful[:, 1], scores, pool)
        modes = (FIXED,) if MARKERS[0] in vocab else (WHOLE, PAST)
        evidence = pool.map(lambda mode: _story(corpus, scores, mode), modes)
        keys, weights = (np.concatenate(column) for column in zip(space, *case, *evidence, strict=True))
    rising = np.argsort(keys)  # templates make the keys of the parts distinct
    templates, packed = pack_keys(keys[rising])
    return DecoderSpec(
        classes=pack(classes, "<u1"),
        together=TOGETHER,
        witness=WITNESS,
        templates=templates,
        keys=packed,
        step=STEP,
        weights=pack(weights[rising], "<i1"),
    )


@dataclass(frozen=True)
class _Corpus:
    """The stories, and the kind of each token."""

    stories: Stories
    kinds: np.ndarray
    unk: int
    open_case: np.ndarray
    """Whether a token's case is predicted."""

    @classmethod
    def of(cls, stories: Stories, kinds: np.ndarray, *, unk: int) -> Self:
        open_case = (stories.ids != unk) & (kinds[stories.ids] & CASELESS == 0) & (stories.cases != OTHER)
        return cls(stories, kinds, unk, open_case)

    @property
    def later(self) -> np.ndarray:
        """Whether a token is not its story's first, which never has a blank."""
        return np.asarray(np.diff(self.stories.owners, prepend=-1) == 0)

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


def _first_scores(corpus: _Corpus, pool: ThreadPoolExecutor) -> tuple[np.ndarray, np.ndarray]:
    """Scores of capitals, int64 [tokens], and the tokens whose blank and whose case join the fit, bool [tokens, 2]."""
    stories = corpus.stories
    every = -(-len(stories.lengths) // BASE_STORIES)
    if every == 1:
        return np.zeros(len(stories.ids), dtype=np.int64), np.ones((len(stories.ids), 2), dtype=bool)
    chosen = np.arange(len(stories.lengths)) % every == 0
    base = _Corpus.of(stories.some(chosen), corpus.kinds, unk=corpus.unk)
    blanks = number(base.features(base.later, space=SPACE_FEATURES))
    cases = number(base.features(base.open_case, case=CASE_FEATURES), CASE_ALIKE)
    labels = base.stories.cases[base.open_case]
    jobs = (
        (blanks, base.stories.blanks[base.later], SPACE_RATE, SPACE_DECAY, EPOCHS),
        (cases, labels == CAPITAL, CASE_RATE, CASE_DECAY, EPOCHS),
        (cases, labels == UPPER, CASE_RATE, CASE_DECAY, UPPER_EPOCHS),
    )
    space, capital, upper = pool.map(lambda job: job[0].learn(job[1], rate=job[2], decay=job[3], epochs=job[4]), jobs)
    columns = (np.concatenate([space, capital]), np.concatenate([np.zeros_like(space), upper]))
    weights = np.column_stack([np.rint(column * UNIT).astype(np.int64) for column in columns])
    table = hash_table(np.concatenate([blanks.keys, cases.keys]), weights)
    scores = np.zeros((len(stories.ids), 3), dtype=np.int64)
    bounds = np.array(stories.bounds)

    def score(part: np.ndarray) -> None:
        own = slice(bounds[part[0]], bounds[part[-1]])
        tokens = (stories.ids[own], stories.blanks[own], bounds[part] - bounds[part[0]])
        loops.score_stories(*tokens, corpus.kinds, corpus.unk + 1, corpus.unk, *table, scores[own])

    parts = np.array_split(np.arange(len(bounds) - 1), os.cpu_count() or 1)
    list(pool.map(score, [np.append(part, part[-1] + 1) for part in parts if len(part)]))
    least = np.abs(scores)
    doubtful = np.column_stack([least[:, 0], np.minimum(least[:, 1], least[:, 2])]) < DOUBTFUL
    return scores[:, 1].copy(), doubtful | chosen[stories.owners][:, None]


def _space(corpus: _Corpus, joins: np.ndarray) -> Table:
    """Fit the weights of blanks."""
    rows = corpus.later & joins
    numbered = number(corpus.features(rows, space=SPACE_FEATURES))
    labels = corpus.stories.blanks[rows]
    fitted, weights = numbered.learn_strongest(labels, SPACE_MOST, rate=SPACE_RATE, decay=SPACE_DECAY, epochs=EPOCHS)
    return _whole(fitted.keys, weights)


def _case(corpus: _Corpus, joins: np.ndarray, scores: np.ndarray, pool: ThreadPoolExecutor) -> tuple[list[Table], np.ndarray]:
    """Fit the weights of capitals and of all capitals.

    Also update the scores of the tokens that join the fit, by weights fitted without their stories, in 1/1024 nat.
    """
    rows = corpus.open_case & joins
    numbered = number(corpus.features(rows, case=CASE_FEATURES), CASE_ALIKE)
    cases, owners = corpus.stories.cases[rows], corpus.stories.owners[rows]
    both = pool.map(
        lambda job: numbered.learn_strongest(cases == job[0], job[1], rate=CASE_RATE, decay=CASE_DECAY, epochs=job[2]),
        ((CAPITAL, CASE_MOST, EPOCHS), (UPPER, UPPER_MOST, UPPER_EPOCHS)),
    )
    (capital, weights), (upper, upper_weights) = both
    count = len(corpus.stories.lengths)
    parts = PARTS if count < MANY else 2
    part = owners * parts // count

    def without(n: int) -> np.ndarray:
        return capital.learn(cases == CAPITAL, rate=CASE_RATE, decay=CASE_DECAY, epochs=EPOCHS, chosen=part != n)

    own = np.zeros(len(cases))
    for n, others in enumerate(pool.map(without, range(parts))):
        own[part == n] = capital.scores(others, part == n)
    scores = np.where(corpus.open_case, scores, 0)
    scores[rows] = np.rint(own * UNIT)
    return [_whole(capital.keys, weights), _whole(upper.keys | ALL_CAPITALS, upper_weights)], scores


def _story(corpus: _Corpus, scores: np.ndarray, mode: int) -> Table:
    """Fit the weights of other occurrences of the word in the story, given the scores."""
    stories = corpus.stories
    unsure = corpus.open_case & (np.abs(scores) < UNSURE * UNIT)
    places = np.where(unsure, np.cumsum(unsure) - 1, -1)
    rows = np.zeros((STORY_FEATURES, unsure.sum()), dtype=np.int64)
    given = (stories.ids, stories.cases, np.array(stories.bounds), corpus.kinds, corpus.unk)
    loops.story_rows(*given, UNIT, mode, scores, places, rows)
    fitted, weights = number(rows).learn_strongest(
        (stories.cases == CAPITAL)[unsure],
        STORY_MOST,
        rate=STORY_RATE,
        decay=CASE_DECAY,
        epochs=EPOCHS,
        offsets=scores[unsure] / UNIT,
    )
    return _whole(fitted.keys, weights)


def _whole(keys: np.ndarray, weights: np.ndarray) -> Table:
    """The keys with relevant weights, and the weights in steps, rounded to integers."""
    whole = np.clip(np.rint(weights * (UNIT / STEP)), -127, 127).astype(np.int64)
    return keys[whole != 0], whole[whole != 0]
