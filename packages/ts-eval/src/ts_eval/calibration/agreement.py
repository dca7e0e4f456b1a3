"""Agreement of raters: standard statistics with intervals, or the reason why a value is refused.

Pure functions over arrays.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..schemas import RATINGS, Statistic
from ..stats import BOOTSTRAP_FROM, t_interval
from ..stats import spearman as rank_correlation

_DRAWS = 1000
FEW, SOME = 10, 20
"""Fewest stories for an interval or a rank correlation, and for a reliability coefficient."""


def spearman(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Rank correlation; nan where one side is constant."""
    value = rank_correlation(a.tolist(), b.tolist())
    return float("nan") if value is None else value


def quadratic_kappa(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Cohen's kappa with quadratic weights over 1–10, ratings rounded to integers (Cohen 1968)."""
    x, y = np.rint(a), np.rint(b)
    expected = ((x[:, None] - y[None, :]) ** 2).mean()
    return float("nan") if expected == 0 else float(1 - ((x - y) ** 2).mean() / expected)


def krippendorff_alpha(ratings: NDArray[Any]) -> float:
    """Krippendorff's alpha, interval distance; `ratings` [stories, raters], nan where a rater said nothing (Krippendorff 2011)."""
    counts = (~np.isnan(ratings)).sum(axis=1)
    ratings, counts = ratings[counts > 1], counts[counts > 1]
    values, n = ratings[~np.isnan(ratings)], counts.sum()
    if n == 0 or np.ptp(values) == 0:
        return float("nan")
    from_mean = np.nansum((ratings - np.nanmean(ratings, axis=1, keepdims=True)) ** 2, axis=1)
    within = (from_mean * counts / (counts - 1)).sum() / n
    return float(1 - within * (n - 1) / ((values - values.mean()) ** 2).sum())


def icc21(ratings: NDArray[Any]) -> float:
    """ICC(2,1): two-way random effects, absolute agreement, one rating; `ratings` [stories, raters] (Shrout & Fleiss 1979)."""
    n, k = ratings.shape
    mean = ratings.mean()
    between = k * ((ratings.mean(axis=1) - mean) ** 2).sum() / (n - 1)
    raters = n * ((ratings.mean(axis=0) - mean) ** 2).sum() / (k - 1)
    rest = ratings - ratings.mean(axis=1, keepdims=True) - ratings.mean(axis=0, keepdims=True) + mean
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    total = between + (k - 1) * error + k * (raters - error) / n
    return float("nan") if total == 0 else float((between - error) / total)


Function = Callable[["NDArray[Any]", "NDArray[Any]"], Any]
"""A statistic of two raters, or one number per story, whose mean is the statistic."""

STATISTICS: dict[str, tuple[Function, int, bool]] = {
    "mae": (lambda a, b: np.abs(a - b), 1, False),
    "bias": (lambda a, b: a - b, 1, False),
    "within_one": (lambda a, b: float((np.abs(a - b) <= 1 + 1e-9).mean()), 1, False),
    "spearman": (spearman, FEW, True),
    "quadratic_kappa": (quadratic_kappa, SOME, True),
    "krippendorff_alpha": (lambda a, b: krippendorff_alpha(np.column_stack([a, b])), SOME, True),
    "icc_2_1": (lambda a, b: icc21(np.column_stack([a, b])), SOME, True),
}
"""Name → (function of judge and reference, fewest stories, needs variance). `within_one`: share of stories that differ by at most one."""


def compare(judge: ArrayLike, reference: ArrayLike, seed: int = 1) -> dict[str, Statistic]:
    """All statistics of a judge's ratings against a reference on the same stories."""
    a, b = np.asarray(judge, dtype=float), np.asarray(reference, dtype=float)
    return {name: _one(function, a, b, fewest, spread, seed) for name, (function, fewest, spread) in STATISTICS.items()}


def _one(function: Function, a: NDArray[Any], b: NDArray[Any], fewest: int, spread: bool, seed: int) -> Statistic:
    n = len(a)
    reason = _refusal(a, b, fewest, spread)
    if reason:
        return Statistic(stories=n, refused=reason)
    value = float(np.mean(function(a, b)))
    if not np.isfinite(value):
        return Statistic(stories=n, refused="not defined for these ratings")
    if n < FEW:
        return Statistic(stories=n, value=round(value, 4), note=f"no interval from {counted(n)}")
    low, high = interval(function, a, b, seed)
    return Statistic(stories=n, value=round(value, 4), low=low, high=high)


def _refusal(a: NDArray[Any], b: NDArray[Any], fewest: int, spread: bool) -> str | None:
    if len(a) == 0:
        return "no story has both ratings"
    if len(a) < fewest:
        return f"{counted(len(a))}, at least {fewest} are needed"
    if spread:
        for who, values in (("reference", b), ("judge", a)):
            if np.ptp(values) == 0:
                return f"the {who} gives every story {values[0]:g}: no variance"
            common = np.unique(np.rint(values), return_counts=True)[1].max() / len(values)
            if common > 0.95:
                return f"the {who} gives {common:.0%} of the stories the same rating: next to no variance"
    return None


_ONE = {"stories": "story", "ratings": "rating"}


def counted(n: int, unit: str = "stories") -> str:
    """`1 story`, `2 stories`, `2 ratings`."""
    return f"{n} {unit if n != 1 else _ONE[unit]}"


def point(n: int, least: int, compute: Callable[[], float], undefined: str, unit: str = "stories") -> Statistic:
    """A number without an interval; `undefined` is the reason where it is nan."""
    if n < least:
        return Statistic(stories=n, refused=f"{counted(n, unit)}, at least {least} are needed")
    value = compute()
    return Statistic(stories=n, value=round(value, 4)) if np.isfinite(value) else Statistic(stories=n, refused=undefined)


def interval(function: Function, a: NDArray[Any], b: NDArray[Any], seed: int = 1) -> tuple[float, float]:
    """95 % interval over stories: Student's, cut to what ratings allow, for the mean of few numbers, else percentiles of resamples.

    Skips resamples where the statistic is undefined; scipy.stats.bootstrap does not.
    """
    each = np.asarray(function(a, b))
    if each.ndim and len(each) < BOOTSTRAP_FROM:
        least, most = RATINGS
        extremes = np.asarray(function(np.array([least, least, most]), np.array([least, most, least])))
        low, high = np.clip(t_interval(each), extremes.min(), extremes.max())
    else:
        draw = np.random.default_rng(seed)
        picks = draw.integers(0, len(a), size=(_DRAWS, len(a)))
        low, high = np.nanpercentile([np.mean(function(a[p], b[p])) for p in picks], [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)
