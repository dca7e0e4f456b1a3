"""Decides where each story goes: a split, or out, and why. Arrays in, arrays out; it reads no text but for near-duplicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..cleaning.cleaner import KEPT
from ..dedup.exact import first_of, members
from ..dedup.minhash import Held, candidates, greedy
from ..schemas import PrepareConfig
from . import draw as _split
from .tasks import NOWHERE, REMOVED, TEST, TRAIN, VALIDATION

__all__ = ["Assignment", "assign", "reasons_of", "removed_of"]

DUPLICATE, NEAR, LEAKAGE, AGAINST = 100, 101, 102, 103
_EXTRA = {DUPLICATE: "duplicate", NEAR: "near_duplicate", LEAKAGE: "leakage", AGAINST: "against"}


def reasons_of(config: PrepareConfig) -> dict[int, str]:
    """Why a story goes: the number in `Assignment.reason` -> its name; the steps' own numbers, and some more."""
    return {**dict(enumerate(config.steps)), **_EXTRA}


def removed_of(reason: np.ndarray, config: PrepareConfig) -> dict[str, int]:
    """How many stories go for each reason."""
    return {name: int((reason == code).sum()) for code, name in reasons_of(config).items()}


_PIECE = 4_096
"""Stories compared at once."""


class Stories(Protocol):
    """What near-duplicates need of the stories."""

    def text(self, row: int) -> str:
        """The cleaned text of a row."""
        ...

    def bands(self, rows: np.ndarray) -> np.ndarray:
        """Band keys `[rows, bands]`."""
        ...


@dataclass(frozen=True)
class Assignment:
    """Per story (row): `to` a split or REMOVED; `reason` a step's number, DUPLICATE, NEAR, LEAKAGE or AGAINST, KEPT if none;
    `twin` the row that stayed instead, or -1; `similarity` to it (nan if none)."""

    to: np.ndarray
    reason: np.ndarray
    twin: np.ndarray
    similarity: np.ndarray


def assign(
    dropped: np.ndarray,
    hashes: np.ndarray,
    train_rows: int,
    config: PrepareConfig,
    stories: Stories | None = None,
    first_of: Callable[[np.ndarray], np.ndarray] = first_of,
    test_end: int | None = None,
) -> Assignment:
    """Assign every row: the first `train_rows` come from the training sources, those up to `test_end` from given test files,
    the rest are stories that the training sources must not hold (`against`).

    `dropped` [stories] int8 and `hashes` [stories, 2] uint64 are the cleaner's columns. `stories` gives texts and band
    keys where near-duplicates are asked for; `first_of` finds the duplicates, in this process or by an engine's shuffle.
    """
    count = len(dropped)
    result = Assignment(
        np.full(count, REMOVED, np.uint8),
        dropped.astype(np.int16),
        np.full(count, -1, np.int64),
        np.full(count, np.nan, np.float32),
    )
    test_end = count if test_end is None else test_end
    pool = np.flatnonzero(dropped[:train_rows] == KEPT)
    if test_end < count:
        pool = _without(result, pool, hashes, (test_end, count, AGAINST), config, stories)
    if config.deduplicate != "none":
        pool = _remove(result, pool, pool[first_of(hashes[pool])], DUPLICATE)
    if config.leakage == "drop" and train_rows < test_end:
        pool = _without(result, pool, hashes, (train_rows, test_end, LEAKAGE), config, stories)
    leader = np.arange(count)
    if stories is not None:
        twins = _near_twins(pool, stories, config)
        for row, (twin, similarity) in twins.items():
            leader[row] = twin
            if config.deduplicate == "near":
                result.reason[row], result.twin[row], result.similarity[row] = NEAR, twin, similarity
        if config.deduplicate == "near":
            pool = pool[leader[pool] == pool]
    validation, test = _split.sizes(
        len(pool), config, test_given=train_rows < test_end, removed=removed_of(result.reason[:train_rows], config)
    )
    chosen, tested = _split.draw(hashes[pool], config, validation, test, np.searchsorted(pool, leader[pool]))
    result.to[pool] = TRAIN
    result.to[pool[chosen]] = VALIDATION
    result.to[pool[tested]] = TEST
    result.to[train_rows:test_end] = TEST
    result.to[test_end:] = NOWHERE
    return result


def _without(
    result: Assignment,
    pool: np.ndarray,
    hashes: np.ndarray,
    others: tuple[int, int, int],
    config: PrepareConfig,
    stories: Stories | None,
) -> np.ndarray:
    """Take out what also stands in other rows: exactly, and nearly where near-duplicates are asked for.

    `others`: the first of those rows, their end, and the reason.
    """
    first, end, reason = others
    twin = members(hashes[pool], hashes[first:end])
    pool = _remove(result, pool, np.where(twin >= 0, twin + first, pool), reason)
    if stories is None:
        return pool
    held = Held([stories.text(row) for row in range(first, end)], config.near)
    gone = set()
    for start in range(0, len(pool), _PIECE):
        rows = pool[start : start + _PIECE].tolist()
        for index, other, similarity in held.match([stories.text(row) for row in rows]):
            row = rows[index]
            if row not in gone or similarity > result.similarity[row]:
                result.reason[row], result.twin[row], result.similarity[row] = reason, first + other, similarity
                gone.add(row)
    return np.array([row for row in pool.tolist() if row not in gone], np.int64)


def _near_twins(pool: np.ndarray, stories: Stories, config: PrepareConfig) -> dict[int, tuple[int, float]]:
    """Near-duplicates in the pool: row → (the earlier row that leads its cluster, similarity)."""
    shared = candidates(stories.bands(pool))
    rows = pool[shared]
    return greedy(rows.tolist(), stories.bands(rows), stories.text, config.near)


def _remove(result: Assignment, pool: np.ndarray, twin: np.ndarray, reason: int) -> np.ndarray:
    """Take the rows of `pool` that have a twin other than themselves out; returns the others."""
    gone = twin != pool
    result.reason[pool[gone]] = reason
    result.twin[pool[gone]] = twin[gone]
    result.similarity[pool[gone]] = 1.0
    stay: np.ndarray = pool[~gone]
    return stay
