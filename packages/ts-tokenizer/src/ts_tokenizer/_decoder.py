"""Ids to book text: where blanks stand and what is capital, learned from train as a log-linear model.

Evidence is the neighbours (two before, three after), the quotes that stand open, and for capitals what the story says
of the same word elsewhere. Weights are whole numbers, so a decision is the same on every machine, with Numba or
without. What is *not* here: the vocabulary's strings, and the markers of `casing="keep"`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ._kernels import kernels
from ._kernels.plain import APOSTROPHE, BREAK, CASE_FEATURES, CASELESS, LOOK_AHEAD, QUOTE, SPACE_FEATURES, WORD
from .schemas import SPECIALS, DecoderSpec

__all__ = ["CAPITAL", "LOOK_AHEAD", "LOWER", "OTHER", "UPPER", "Decoder", "Story", "case_of", "cased", "fit"]

LOWER, CAPITAL, UPPER, OTHER = 0, 1, 2, 3
WHOLE, PAST, TOLD = 0, 1, 2
"""Evidence from the whole story, from what was decoded before, or from the case that was told before."""

UNIT = 1024
BUCKETS = 17
CLIP = 9 * UNIT
"""Beyond this (one error in 8,000) the model is not believed when bits are priced."""


@dataclass(frozen=True)
class Story:
    """One aligned story: ids, 1 where a blank stands before a token, and each token's class of case."""

    ids: np.ndarray
    blanks: np.ndarray
    cases: np.ndarray


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

    def __init__(self, spec: DecoderSpec, vocab: Sequence[str], *, loops: str | None = None) -> None:
        self._none, self._unk = len(vocab) - 1, len(vocab) - 2
        self._loops: Any = kernels(loops)
        self._kinds = _kinds(vocab, _unpack(spec.classes, "<u1"))
        self._keys, self._weights = _table(self._loops, _unpack(spec.keys, "<i8"), _unpack(spec.weights, "<i2").reshape(-1, 2))
        flat = _unpack(spec.evidence, "<i2").astype(np.int64)
        self._evidence = flat.reshape(3, 8, 2, BUCKETS) if len(flat) else np.zeros((3, 8, 2, BUCKETS), dtype=np.int64)

    def scores(self, ids: np.ndarray, mode: int = WHOLE, truth: np.ndarray | None = None) -> np.ndarray:
        """[tokens, 3]: for a blank, a capital, all capitals, against none of it, in 1/1024 nat."""
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        scores = np.zeros((len(ids), 3), dtype=np.int64)
        told = ids if truth is None else np.ascontiguousarray(truth, dtype=np.int64)
        args = (self._kinds, self._none, self._unk, self._keys, self._weights, self._evidence[mode], UNIT, mode, scores)
        self._loops.decode(ids, told, *args)
        return scores

    def guess(self, ids: np.ndarray, mode: int = WHOLE, truth: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Blank before (0 or 1) and class of case of each token, int64 [tokens]."""
        return choose(self.scores(ids, mode, truth))

    def retell(self, ids: np.ndarray, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Like `guess`, but from left to right and with some decisions told: `told` [tokens, 2], -1 where nothing is."""
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        scores = np.zeros((len(ids), 3), dtype=np.int64)
        still = np.zeros_like(self._evidence[TOLD])
        self._loops.decode(ids, ids, self._kinds, self._none, self._unk, self._keys, self._weights, still, UNIT, TOLD, scores)
        blanks, cases = np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.int64)
        self._loops.retell(ids, told, self._kinds, self._unk, self._evidence[TOLD], UNIT, scores, blanks, cases)
        return blanks, cases

    def bits(self, story: Story) -> tuple[float, np.ndarray]:
        """Bits to tell the blanks and cases of a story from its ids, and where no class of case does (`OTHER`)."""
        scores = np.clip(self.scores(story.ids), -CLIP, CLIP) / UNIT
        blank = np.where(story.blanks[1:] == 1, -scores[1:, 0], scores[1:, 0])
        nats = np.logaddexp(0.0, blank).sum()
        open_case = (story.ids != self._unk) & (self._kinds[story.ids] & CASELESS == 0)
        other = open_case & (story.cases == OTHER)
        logits = np.column_stack([np.zeros(len(scores)), scores[:, 1:], np.full(len(scores), -CLIP / UNIT)])[open_case]
        nats += (np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(logits)), story.cases[open_case]]).sum()
        return float(nats / np.log(2)), other


def choose(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores to decisions."""
    case = np.where(scores[:, 2] > np.maximum(scores[:, 1], 0), UPPER, np.where(scores[:, 1] > 0, CAPITAL, LOWER))
    return (scores[:, 0] > 0).astype(np.int64), case.astype(np.int64)


# --- learning ----------------------------------------------------------------------------------

MIN_COUNT = 2
EPOCHS, RATE, DECAY = 5, 0.5, 1e-6  # of five settings tried on real stories none was clearly better
SMALLEST = UNIT // 16  # weights below 1/16 nat are dropped: they make the file, not the decisions


def fit(stories: Sequence[Story], vocab: Sequence[str]) -> DecoderSpec:
    """Learn from aligned stories; the last fifth of them teaches how far to trust a story's own evidence."""
    if not stories:
        return DecoderSpec()
    classes = _classes(stories, vocab)
    cut = max(1, len(stories) * 4 // 5)
    spec = _fit_weights(stories[:cut], vocab, classes)
    held_out = stories[cut:] or stories
    decoder = Decoder(spec, vocab)
    evidence = _fit_evidence(decoder, held_out)
    spec = _fit_weights(stories, vocab, classes)
    return spec.model_copy(update={"evidence": _pack(evidence, "<i2")})


def _kinds(vocab: Sequence[str], classes: np.ndarray) -> np.ndarray:
    kinds = np.zeros(len(vocab), dtype=np.int64)
    if len(classes):
        kinds += classes
    for i, token in enumerate(vocab):
        flag = {'"': QUOTE, "'": APOSTROPHE}.get(token, BREAK if "\n" in token else 0)
        flag |= WORD if token[:1].isalnum() else 0
        kinds[i] += flag | (CASELESS if token == token.upper() or token in SPECIALS else 0)
    kinds[len(vocab) - 2] |= WORD  # <unk> is a word more often than not
    return kinds


def _classes(stories: Sequence[Story], vocab: Sequence[str]) -> np.ndarray:
    """Each word's class: how often it is capital after a word, inside a sentence (0 never seen there, 1 rarely ... 5 always)."""
    kinds = _kinds(vocab, np.zeros(0))
    seen = np.zeros((len(vocab), 2))
    for story in stories:
        inside = np.zeros(len(story.ids), dtype=bool)
        inside[1:] = kinds[story.ids[:-1]] & WORD != 0
        np.add.at(seen, (story.ids[inside], (story.cases[inside] != LOWER).astype(int)), 1)
    total = seen.sum(axis=1)
    share = seen[:, 1] / np.maximum(total, 1)
    return np.where(total == 0, 0, 1 + np.searchsorted([0.02, 0.2, 0.8, 0.98], share)).astype(np.int64)


def _fit_weights(stories: Sequence[Story], vocab: Sequence[str], classes: np.ndarray) -> DecoderSpec:
    kinds, none, unk = _kinds(vocab, classes), len(vocab) - 1, len(vocab) - 2
    loops = kernels()
    space_rows, case_rows = [], []
    for story in stories:
        n = len(story.ids)
        space, case = np.zeros((n, SPACE_FEATURES), np.int64), np.zeros((n, CASE_FEATURES), np.int64)
        loops.features(story.ids, kinds, none, np.zeros(n, np.int64), space, case)
        space_rows.append(space[1:])
        case_rows.append(case)
    ids = np.concatenate([story.ids for story in stories])
    cases = np.concatenate([story.cases for story in stories])
    blanks = np.concatenate([story.blanks[1:] for story in stories])
    open_case = (ids != unk) & (kinds[ids] & CASELESS == 0) & (cases != OTHER)
    cases = cases[open_case]
    space_keys, space = _regress(np.concatenate(space_rows), blanks == 1)
    case_keys, case = _regress(np.concatenate(case_rows)[open_case], cases == CAPITAL, cases == UPPER)
    keys = np.concatenate([space_keys, case_keys])  # templates keep the two apart; space has the lower ones
    weights = np.concatenate([np.pad(space, ((0, 0), (0, 1))), case])
    return DecoderSpec(classes=_pack(classes, "<u1"), keys=_pack(keys, "<i8"), weights=_pack(weights, "<i2"))


def _regress(rows: np.ndarray, *labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys and whole-number weights [keys, labels] of logistic regressions; features seen once say nothing."""
    encoded = pa.array(rows.reshape(-1)).dictionary_encode()  # by hashing: sorting millions of keys takes ten times as long
    keys, places = encoded.dictionary.to_numpy(), encoded.indices.to_numpy()
    kept = np.bincount(places, minlength=len(keys)) >= MIN_COUNT
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    numbered = number[places].reshape(rows.shape)
    order = np.random.default_rng(0).permutation(len(rows))
    columns = []
    for label in labels:
        weights, squares = np.zeros(int(kept.sum()) + 1), np.ones(int(kept.sum()) + 1)
        kernels().learn(numbered[order], label[order].astype(np.float64), weights, squares, RATE, DECAY, EPOCHS)
        columns.append(np.clip(np.rint(weights[1:] * UNIT), -32_000, 32_000).astype(np.int64))
    whole = np.column_stack(columns)
    strong = (np.abs(whole) >= SMALLEST).any(axis=1)
    keys, whole = keys[kept][strong], whole[strong]
    rising = np.argsort(keys)
    return keys[rising], whole[rising]


def _fit_evidence(decoder: Decoder, stories: Sequence[Story]) -> np.ndarray:
    """For each mode, word class, place and bucket of evidence: the weight that makes the capital's score right on average."""
    words = decoder._kinds
    found: list[tuple[np.ndarray, ...]] = []
    for story in stories:
        truth = (story.cases != LOWER).astype(np.int64)
        plain = decoder.scores(story.ids)  # no evidence was learned yet, so it is the same in every mode
        buckets = [_buckets(decoder, story, mode, truth, plain) for mode in (WHOLE, PAST, TOLD)]
        open_case = (story.ids != decoder._unk) & (words[story.ids] & CASELESS == 0)
        inside = np.zeros(len(story.ids), dtype=np.int64)
        inside[1:] = words[story.ids[:-1]] & WORD != 0
        found.append(tuple(x[open_case] for x in (words[story.ids] & 7, inside, plain[:, 1], truth, *buckets)))
    classes, inside, scores, truth, *by_mode = (np.concatenate(column) for column in zip(*found, strict=True))
    return np.stack([_solve(classes, inside, bucket, scores, truth) for bucket in by_mode])


def _buckets(decoder: Decoder, story: Story, mode: int, truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which bucket of evidence each token falls into: read off by a probe that scores nothing but its number."""
    probe = np.broadcast_to(np.arange(BUCKETS, dtype=np.int64), (8, 2, BUCKETS)) << 40
    probed = scores.copy()
    ids = np.ascontiguousarray(story.ids, dtype=np.int64)
    decoder._loops.gather_evidence(
        ids, truth, decoder._kinds, decoder._none, decoder._unk, np.ascontiguousarray(probe), UNIT, mode, probed
    )
    found: np.ndarray = (probed[:, 1] - scores[:, 1]) >> 40
    return found


def _solve(classes: np.ndarray, inside: np.ndarray, buckets: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """One Newton-solved offset per cell, drawn to 0 by a prior of half a count at each side."""
    cell = (classes * 2 + inside) * BUCKETS + buckets
    logits = np.clip(scores / UNIT, -12, 12)
    offset = np.zeros(8 * 2 * BUCKETS)
    for _ in range(30):
        p = 1 / (1 + np.exp(-(logits + offset[cell])))
        gradient = np.bincount(cell, truth - p, len(offset)) - 0.3 * offset
        curvature = np.bincount(cell, p * (1 - p), len(offset)) + 0.3
        offset += np.clip(gradient / curvature, -1, 1)
    return np.rint(np.clip(offset, -15, 15) * UNIT).astype(np.int64).reshape(8, 2, BUCKETS)


# --- keeping -----------------------------------------------------------------------------------


def _table(loops: Any, keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An open-addressed table of prime size, about half full."""
    size = _prime(2 * len(keys) + 3)
    slots, values = np.full(size, -1, dtype=np.int64), np.zeros((size, 2), dtype=np.int64)
    loops.fill_table(keys, weights, slots, values)
    return slots, values


def _prime(at_least: int) -> int:
    n = at_least | 1
    while any(n % d == 0 for d in range(3, int(n**0.5) + 1, 2)):
        n += 2
    return n


def _pack(array: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array).astype(kind).tobytes()).decode("ascii")


def _unpack(text: str, kind: str) -> np.ndarray:
    array = np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)
    return array.astype(np.int64)
