"""Binary log-linear models over sparse features: numbering of features, and fitting of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..fast import loops

MIN_COUNT = 2
LEAST_SURE = 0.01
"""Variance of a sure row when features are ranked: without it a feature that makes its rows sure would seem useless."""


@dataclass(frozen=True)
class Rows:
    """Observations as rows of feature numbers, in a fixed random order."""

    keys: np.ndarray
    """int64 [features]: the features that occur often enough."""
    order: np.ndarray
    """int64 [rows]: each row's column in the input."""
    starts: np.ndarray
    """int64 [rows + 1]: the start of each row's features in `numbers`."""
    numbers: np.ndarray
    """int32: indices into `keys`."""

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
        """Fit the weights, float64 [features]; `labels`, `chosen`, `offsets` (known part of the logit) are in input order."""
        known = self._known(offsets)
        rows = np.arange(len(self.order)) if chosen is None else np.flatnonzero(chosen[self.order])
        weights = np.column_stack([np.zeros(len(self.keys)), np.ones(len(self.keys))])
        truth = labels[self.order].astype(np.float64)
        loops.learn(self.starts, self.numbers, rows, known, truth, weights, rate, decay, epochs)
        return weights[:, 0].copy()

    def _known(self, offsets: np.ndarray | None) -> np.ndarray:
        return np.zeros(len(self.order)) if offsets is None else offsets[self.order].astype(np.float64)

    def scores(self, weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The weight sums of the chosen rows, float64 [chosen]; `chosen` is in input order."""
        sums = np.zeros(len(self.order))
        rows = np.flatnonzero(chosen[self.order])
        loops.sum_weights(self.starts, self.numbers, rows, weights, sums)
        found = np.empty(len(sums))
        found[self.order] = sums
        own: np.ndarray = found[chosen]
        return own

    def learn_strongest(self, labels: np.ndarray, most: int, **settings: Any) -> tuple[Rows, np.ndarray]:
        """Like `learn`, with at most `most` features: those whose weights matter most are kept and fitted again."""
        weights = self.learn(labels, **settings)
        if len(self.keys) <= most:
            return self, weights
        importance = np.zeros(len(self.keys))
        known = self._known(settings.get("offsets"))
        loops.add_importance(self.starts, self.numbers, known, weights, LEAST_SURE, importance)
        chosen = np.zeros(len(self.keys), dtype=bool)
        chosen[np.argsort(-importance, kind="stable")[:most]] = True
        fewer = self._only(chosen)
        return fewer, fewer.learn(labels, **settings)

    def _only(self, chosen: np.ndarray) -> Rows:
        kept = chosen[self.numbers]
        numbers = (np.cumsum(chosen, dtype=np.int32) - 1)[self.numbers[kept]]
        return Rows(self.keys[chosen], self.order, np.concatenate([[0], np.cumsum(kept)])[self.starts], numbers.astype(np.int32))


def number(columns: np.ndarray, alike: Sequence[int] = ()) -> Rows:
    """Number the keys of int64 [features, rows]; negative entries are absent. Only the features `alike` share keys."""
    order = np.random.default_rng(0).permutation(columns.shape[1])
    table = np.empty((columns.shape[1], len(columns)), dtype=np.int32)
    keys: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    known = size = 0
    for group in [*([n] for n in range(len(columns)) if n not in alike), *([list(alike)] if alike else [])]:
        # Hashing takes a tenth of the time of sorting; feature by feature, so that the hash tables fit the CPU cache.
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
