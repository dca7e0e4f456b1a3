"""Log-linear models of yes or no: features to numbered rows, rows to weights. What a feature says is not known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..fast import loops

__all__ = ["Rows", "number"]

MIN_COUNT = 2


@dataclass(frozen=True)
class Rows:
    """What was seen, a row each, in a random order that is always the same."""

    keys: np.ndarray
    """int64 [features]: those that stand in rows often enough."""
    order: np.ndarray
    """int64 [rows]: each row's place among the columns given."""
    starts: np.ndarray
    """int64 [rows + 1]: where each row's features begin in `numbers`."""
    numbers: np.ndarray
    """int32: places in `keys`."""

    def learn(
        self,
        labels: np.ndarray,
        *,
        rate: float,
        decay: float,
        epochs: int,
        chosen: np.ndarray | None = None,
        offsets: np.ndarray | None = None,
    ) -> np.ndarray:
        """The weight of each key, float64 [features]; `labels`, `chosen`, `offsets` (what is known of a logit) as the columns."""
        known = np.zeros(len(self.order)) if offsets is None else offsets[self.order].astype(np.float64)
        rows = np.arange(len(self.order)) if chosen is None else np.flatnonzero(chosen[self.order])
        weights = np.column_stack([np.zeros(len(self.keys)), np.ones(len(self.keys))])
        truth = labels[self.order].astype(np.float64)
        loops.learn(self.starts, self.numbers, rows, known, truth, weights, rate, decay, epochs)
        return weights[:, 0].copy()

    def scores(self, weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The sums of the chosen rows' weights, float64 [chosen]; `chosen` as the columns."""
        sums = np.zeros(len(self.order))
        rows = np.flatnonzero(chosen[self.order])
        loops.sum_weights(self.starts, self.numbers, rows, weights, sums)
        found = np.empty(len(sums))
        found[self.order] = sums
        own: np.ndarray = found[chosen]
        return own


def number(columns: np.ndarray, alike: Sequence[int] = ()) -> Rows:
    """Number the keys of int64 [features, rows]; below 0 stands none. Only the columns `alike` may share keys."""
    order = np.random.default_rng(0).permutation(columns.shape[1])
    table = np.empty((columns.shape[1], len(columns)), dtype=np.int32)
    keys: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    known = size = 0
    for group in [*([n] for n in range(len(columns)) if n not in alike), *([list(alike)] if alike else [])]:
        # By hashing, for sorting takes ten times as long; column by column, for small tables stay in the cache.
        encoded = pa.array(columns[group].reshape(-1)).dictionary_encode()
        found, places = encoded.dictionary.to_numpy(), encoded.indices.to_numpy()
        counts = np.bincount(places, minlength=len(found))
        kept = (counts >= MIN_COUNT) & (found >= 0)
        own = np.where(kept, np.cumsum(kept) + known - 1, -1).astype(np.int32)
        table[:, group] = own[places].reshape(len(group), -1).T
        keys.append(found[kept])
        known += len(keys[-1])
        size += int(counts[kept].sum())
    starts, numbers = np.empty(len(order) + 1, dtype=np.int64), np.empty(size, dtype=np.int32)
    loops.pack_rows(table, order, starts, numbers)
    return Rows(np.concatenate(keys), order, starts, numbers)
