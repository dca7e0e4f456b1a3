"""Counts over stories: lengths in words with a histogram. Arrays in, numbers out."""

from __future__ import annotations

import numpy as np

from ..schemas import LengthStats

__all__ = ["BINS", "BIN_WIDTH", "lengths"]

BIN_WIDTH = 25
"""Words per bin of the histogram."""
BINS = 41
"""Bins; the last holds every story of 1,000 words and more."""


def lengths(words: np.ndarray) -> LengthStats:
    """Statistics of the words per story `[stories]`; all zero for no stories."""
    if len(words) == 0:
        return LengthStats(mean=0, sd=0, minimum=0, median=0, maximum=0, bin_width=BIN_WIDTH, histogram=(0,) * BINS)
    bins = np.bincount(np.minimum(words // BIN_WIDTH, BINS - 1), minlength=BINS)
    return LengthStats(
        mean=round(float(words.mean(dtype=np.float64)), 4),
        sd=round(float(words.std(dtype=np.float64)), 4),
        minimum=int(words.min()),
        median=float(np.median(words)),
        maximum=int(words.max()),
        bin_width=BIN_WIDTH,
        histogram=tuple(bins.tolist()),
    )
