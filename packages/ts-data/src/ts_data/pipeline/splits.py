"""Assigns each story to a split or removes it, with the reason. Arrays in, arrays out; reads texts for near-duplicates only.

The draw of validation and test gives every story a random key from the seed and its own 128-bit hash: the smallest keys are validation,
the next test. So it does not depend on the order of the stories, the number of workers or a library's generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..cleaning.cleaner import KEPT
from ..dedup.exact import first_occurrence, members
from ..dedup.minhash import ReferenceSet, candidates, clusters, greedy
from ..errors import ConfigError
from ..schemas import FULL_VALIDATION, SMALL_FRACTION, PrepareConfig

if TYPE_CHECKING:
    from .cleaned import CleanedStories

REMOVED, TRAIN, VALIDATION, TEST, NOWHERE = range(5)
"""Destinations of stories: the values of assignment.npy. NOWHERE: a story of `against`, neither kept nor removed."""

DUPLICATE, NEAR, LEAKAGE, AGAINST = 100, 101, 102, 103
_EXTRA = {DUPLICATE: "duplicate", NEAR: "near_duplicate", LEAKAGE: "leakage", AGAINST: "against"}


def reasons_of(config: PrepareConfig) -> dict[int, str]:
    """Number in `Assignment.reason` → name: the steps by their index, and some more."""
    return {**dict(enumerate(config.steps)), **_EXTRA}


def removed_of(reason: np.ndarray, config: PrepareConfig) -> dict[str, int]:
    """Number of stories per reason."""
    return {name: int((reason == code).sum()) for code, name in reasons_of(config).items()}


_PIECE = 4_096
"""Stories compared at once."""


@dataclass(frozen=True)
class Assignment:
    """Per story (row): `to` a split or REMOVED; `reason` a step's number, DUPLICATE, NEAR, LEAKAGE or AGAINST, KEPT if none;
    `duplicate_of` the row that stayed instead, or -1; `similarity` to it, NaN if none."""

    to: np.ndarray
    reason: np.ndarray
    duplicate_of: np.ndarray
    similarity: np.ndarray


def assign(
    dropped: np.ndarray,
    hashes: np.ndarray,
    train_rows: int,
    config: PrepareConfig,
    stories: CleanedStories | None = None,
    first_occurrence: Callable[[np.ndarray], np.ndarray] = first_occurrence,
    test_end: int | None = None,
) -> Assignment:
    """Assign every row.

    The first `train_rows` rows come from the training sources, those up to `test_end` from given test files, the rest from `against`.

    Args:
        dropped: [stories] int8, column of the cleaner.
        hashes: [stories, 2] uint64, columns of the cleaner.
        train_rows: rows of the training sources.
        config: the settings.
        stories: texts and band keys, if near-duplicates are wanted.
        first_occurrence: finds exact duplicates, in this process or by an engine.
        test_end: the row after those of the test files; None is the number of rows.
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
        pool = _remove(result, pool, pool[first_occurrence(hashes[pool])], DUPLICATE)
    if config.leakage == "drop" and train_rows < test_end:
        pool = _without(result, pool, hashes, (train_rows, test_end, LEAKAGE), config, stories)
    leader = np.arange(count)
    if stories is not None:
        shared = candidates(stories.bands(pool))
        given = pool[shared], stories.bands(pool[shared]), stories.texts, config.near
        if config.deduplicate == "near":
            near = greedy(*given)
            for row, (other, similarity) in near.items():
                result.reason[row], result.duplicate_of[row], result.similarity[row] = NEAR, other, similarity
            pool = pool[result.reason[pool] != NEAR]
        else:
            for row, first in clusters(*given).items():
                leader[row] = first
    validation, test = sizes(
        len(pool), config, test_given=train_rows < test_end, removed=removed_of(result.reason[:train_rows], config)
    )
    chosen, tested = draw(hashes[pool], config, validation, test, np.searchsorted(pool, leader[pool]))
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
    stories: CleanedStories | None,
) -> np.ndarray:
    """Remove from the pool what other rows hold too: exactly, and nearly if near-duplicates are wanted.

    `others`: the first of these rows, their end, and the reason.
    """
    first, end, reason = others
    same = members(hashes[pool], hashes[first:end])
    pool = _remove(result, pool, np.where(same >= 0, same + first, pool), reason)
    if stories is None:
        return pool
    reference = ReferenceSet(stories.texts(np.arange(first, end)), config.near)
    gone = set()
    for start in range(0, len(pool), _PIECE):
        rows = pool[start : start + _PIECE]
        for index, other, similarity in reference.match(stories.texts(rows)):
            row = int(rows[index])
            if row not in gone or similarity > result.similarity[row]:
                result.reason[row], result.duplicate_of[row], result.similarity[row] = reason, first + other, similarity
                gone.add(row)
    return np.array([row for row in pool.tolist() if row not in gone], np.int64)


def _remove(result: Assignment, pool: np.ndarray, first: np.ndarray, reason: int) -> np.ndarray:
    """Remove the rows of `pool` whose `first` occurrence is another row; returns the others."""
    gone = first != pool
    result.reason[pool[gone]] = reason
    result.duplicate_of[pool[gone]] = first[gone]
    result.similarity[pool[gone]] = 1.0
    stay: np.ndarray = pool[~gone]
    return stay


# --- the draw ----------------------------------------------------------------------------------


def sizes(
    available: int, config: PrepareConfig, *, test_given: bool, removed: Mapping[str, int] | None = None
) -> tuple[int, int]:
    """(validation, test) stories to draw out of `available`. Raises ConfigError if none would be left for train.

    `removed`: stories per reason, for the message.
    """
    default = min(FULL_VALIDATION, max(1, int(available * SMALL_FRACTION)))
    validation = default if config.validation is None else _stories(config.validation, available)
    wanted_test = validation if config.test is None else _stories(config.test, available)
    test = 0 if test_given else wanted_test
    if validation + test >= available:
        wanted = f"{validation:,} for validation" + (f" and {test:,} for test" if test else "")
        gone = ", ".join(f"{name} {count:,}" for name, count in (removed or {}).items() if count)
        if not available:
            what = (
                f" is left after cleaning (removed: {gone}). Check the sources, or the field `steps`."
                if gone
                else " is in the sources."
            )
            raise ConfigError(f"no story{what}")
        raise ConfigError(
            f"field `validation`: {wanted} were requested, but only {available:,} stories are left after cleaning"
            f"{f' (removed: {gone})' if gone else ''}, and train needs some. Request fewer (--validation), or add stories."
        )
    return validation, test


def _stories(amount: float, available: int) -> int:
    """A number of stories; a share means at least one."""
    return amount if isinstance(amount, int) else max(1, round(amount * available))


def keys(hashes: np.ndarray, seed: int) -> np.ndarray:
    """One uniform 64-bit key per story from its hash `[stories, 2]` and the seed (splitmix64's finaliser, twice)."""
    with np.errstate(over="ignore"):
        start = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
        mixed: np.ndarray = _mix(_mix(hashes[:, 0] + start) ^ hashes[:, 1])
    return mixed


def draw(
    hashes: np.ndarray, config: PrepareConfig, validation: int, test: int, leader: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of validation and of test, each in ascending order.

    `leader[i]` represents the cluster of row i. A cluster is drawn whole; one that no longer fits is skipped.
    """
    order = np.lexsort((hashes[:, 1], keys(hashes, config.seed)))
    if leader is None or (leader == np.arange(len(leader))).all():
        return np.sort(order[:validation]), np.sort(order[validation : validation + test])
    members: dict[int, list[int]] = {}
    for row, lead in enumerate(leader.tolist()):
        members.setdefault(lead, []).append(row)
    drawn: tuple[list[int], list[int]] = ([], [])
    for lead in order.tolist():
        cluster = members.get(lead, [])
        for rows, size in zip(drawn, (validation, test), strict=True):
            if cluster and len(rows) + len(cluster) <= size:
                rows += cluster
                break
        if len(drawn[0]) == validation and len(drawn[1]) == test:
            break
    else:
        raise ConfigError(
            f"field `validation`: no {validation:,} stories (and {test:,} for test) can be drawn without splitting a cluster of "
            f"near-duplicates. Request fewer, or use deduplicate=near."
        )
    return np.sort(np.array(drawn[0], np.int64)), np.sort(np.array(drawn[1], np.int64))


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
