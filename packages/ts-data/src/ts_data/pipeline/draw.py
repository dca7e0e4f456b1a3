"""The seeded draw of validation and test, and how many of them. It sees hashes, never stories.

Every story gets a random key from the seed and its own 128-bit hash; the smallest keys are validation, the next
test. So the draw does not depend on the order of the stories, the number of workers or a library's generator.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ConfigError
from ..schemas import FULL_VALIDATION, SMALL_FRACTION, PrepareConfig

__all__ = ["draw", "sizes"]


def sizes(
    available: int, config: PrepareConfig, *, test_given: bool, removed: Mapping[str, int] | None = None
) -> tuple[int, int]:
    """(validation, test) stories to draw out of `available`; ConfigError when nothing would be left to train on.

    `removed` says for the message what was taken out before, and how many of it.
    """
    default = min(FULL_VALIDATION, max(1, int(available * SMALL_FRACTION)))
    validation = default if config.validation is None else _stories(config.validation, available)
    wanted_test = validation if config.test is None else _stories(config.test, available)
    test = 0 if test_given else wanted_test
    if validation + test >= available:
        wanted = f"{validation:,} for validation" + (f" and {test:,} for test" if test else "")
        gone = ", ".join(f"{name} {count:,}" for name, count in (removed or {}).items() if count)
        raise ConfigError(
            f"field `validation`: {wanted} are asked for, but only {available:,} stories are left after cleaning"
            f"{f' (removed: {gone})' if gone else ''}, and train needs some. Ask for fewer (--validation), or bring more stories."
        )
    return validation, test


def _stories(amount: float, available: int) -> int:
    """A number of stories as it is; a share of the available ones, at least one of them."""
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

    `leader[i]` is the row that leads the cluster of row i; a cluster is drawn whole (one that no longer fits is passed over).
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
            f"field `validation`: no {validation:,} stories (and {test:,} for test) can be drawn without tearing a cluster of "
            f"near-duplicates apart. Ask for fewer, or use deduplicate=near."
        )
    return np.sort(np.array(drawn[0], np.int64)), np.sort(np.array(drawn[1], np.int64))


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
