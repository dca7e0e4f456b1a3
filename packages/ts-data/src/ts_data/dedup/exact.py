"""Exact duplicates: stories with an equal 128-bit hash; the first in source order stays."""

import numpy as np


def first_occurrence(hashes: np.ndarray) -> np.ndarray:
    """For each row of `[stories, 2]` uint64 hashes, the lowest row with the same hash (itself, if it is the first)."""
    count = len(hashes)
    if count == 0:
        return np.zeros(0, np.int64)
    order = np.argsort(hashes[:, 0])
    differ = np.diff(hashes[order], axis=0) != 0
    if (differ[:, 1] > differ[:, 0]).any():  # hashes that differ in their second half only
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        differ = np.diff(hashes[order], axis=0) != 0
    new = np.ones(count, bool)
    new[1:] = differ.any(axis=1)
    group = np.cumsum(new) - 1
    first = np.empty(count, np.int64)
    first[order] = np.minimum.reduceat(order, np.flatnonzero(new))[group]
    return first


def members(hashes: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For each row of `hashes`, the lowest row of `among` with the same hash, or -1."""
    both = first_occurrence(np.concatenate([among, hashes]))[len(among) :]
    return np.where(both < len(among), both, -1)
