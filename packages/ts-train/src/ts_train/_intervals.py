"""Means with an interval from few values: Student's t at 95 %, two-sided. Nothing is made up for a single value."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["mean", "mean_interval", "t_quantile"]

# 97.5 % quantiles of Student's t for 1, 2, 3 … degrees of freedom.
_T = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448, 2.1314,
    2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip


def t_quantile(freedom: int) -> float:
    """From the table; beyond it by the first terms of the Cornish–Fisher expansion (exact to 4 digits there)."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def mean(values: Sequence[float]) -> float | None:
    """None for no value at all."""
    return math.fsum(values) / len(values) if values else None


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    center = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((v - center) ** 2 for v in values) / (len(values) - 1))
    half = t_quantile(len(values) - 1) * deviation / math.sqrt(len(values))
    return center - half, center + half
