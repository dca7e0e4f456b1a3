"""Statistics of the report: intervals over stories, paired tests, sample sizes, rank correlation."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .schemas import UNBOUNDED, Bounds, Comparison, Estimate

Values = Sequence[float | None]
Array = NDArray[Any]
Z_LEVEL, Z_POWER = 1.959964, 0.841621
"""Normal quantiles of a two-sided 5 % level and of 80 % power."""
LARGEST = math.log(sys.float_info.max)
"""The largest number whose exp is a float."""
FEWEST = 6
"""Stories below which no signs are rare enough for the 5 % level: of 2^5 signs two are as extreme as the observed ones."""
FLIPS = 10_000
"""Sign flips of a permutation test."""
BOOTSTRAP_FROM = 30
"""Stories from which intervals are bootstrapped. Percentiles of fewer cover too rarely (50 % of the time from 2 stories, 84 % from 5,
91 % from 20); Student's t covers the mean of normal values 95 % of the time from 2 on."""


def estimate(
    values: Values, *, seed: int = 1, resamples: int = 2000, bounds: Bounds = UNBOUNDED, share: bool = False
) -> Estimate:
    """Mean, SD and 95 % interval over stories: t from few, else percentile bootstrap. None is an unscored story; it is only counted.

    The interval is cut to `bounds`. `share`: the values are shares from 0 to 1, whose interval from few is Wilson's: it ends at 0 and 1,
    and equal values have one.
    """
    x = [v for v in values if v is not None]
    found = ratio(x, [1.0] * len(x), seed=seed, resamples=resamples, bounds=bounds)
    if share and 1 < len(x) < BOOTSTRAP_FROM:
        ends = wilson(sum(x), len(x))
        found = found.model_copy(update={"low": ends["low"], "high": ends["high"]})
    return found.model_copy(update={"unscored": len(values) - len(x)})


def ratio(
    above: Sequence[float],
    below: Sequence[float],
    *,
    seed: int = 1,
    resamples: int = 2000,
    bounds: Bounds = UNBOUNDED,
    exp: bool = False,
) -> Estimate:
    """Sum of `above` / sum of `below` (losses per token, bits per byte), varied by story. `exp`: exp of the ratio; None on overflow.

    The interval is cut to `bounds`, those of the result: Student's t has none.
    """
    a, b = np.asarray(above, float), np.asarray(below, float)
    if not len(a) or b.sum() <= 0:
        return Estimate(mean=None, n=0)
    each = a / np.where(b > 0, b, 1)
    sd = float(each.std(ddof=1)) if len(a) > 1 and not exp else None
    found: list[float | None] = [float(a.sum() / b.sum()), *(_interval(a, b, seed, resamples) if len(a) > 1 else (None, None))]
    mean, low, high = map(_exp, found) if exp else found
    low, high = None if low is None else max(low, bounds[0]), None if high is None else min(high, bounds[1])
    return Estimate(mean=mean, sd=sd, low=low, high=high, n=len(a))


def _exp(value: float | None) -> float | None:
    """exp, or None on overflow: JSON has no infinity."""
    return None if value is None or value > LARGEST else math.exp(value)


def _interval(above: Array, below: Array, seed: int, resamples: int) -> tuple[float, float]:
    n, means = len(above), []
    if n < BOOTSTRAP_FROM:
        return t_interval(above, below)
    rng = np.random.default_rng(seed)
    rows = max(1, 2_000_000 // n)
    for at in range(0, resamples, rows):
        draw = rng.integers(0, n, (min(rows, resamples - at), n))
        total = below[draw].sum(axis=1)
        there = total > 0  # a resample of empty stories alone has no ratio
        means.append(above[draw].sum(axis=1)[there] / total[there])
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def t_interval(above: Array, below: Array | float = 1.0) -> tuple[float, float]:
    """Student's 95 % interval of a mean or, linearised, of a ratio of sums; at least two values (Cochran 1977, ch. 6)."""
    from scipy.special import stdtrit

    below = np.broadcast_to(np.asarray(below, float), above.shape)
    n, centre = len(above), float(above.sum() / below.sum())
    error = math.sqrt(float(((above - centre * below) ** 2).sum()) * n / (n - 1)) / float(below.sum())
    half = float(stdtrit(n - 1, 0.975)) * error
    return centre - half, centre + half


def compare(
    metric: str,
    first: str,
    second: str,
    a: Values,
    b: Values,
    *,
    seed: int = 1,
    resamples: int = 2000,
    bounds: Bounds = UNBOUNDED,
) -> Comparison | None:
    """Second minus first, on the stories that both have scores for; None if fewer than two. `bounds`: of the scores."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(pairs) < 2:
        return None
    d = np.array([y - x for x, y in pairs], float)
    low, high = np.clip(_interval(d, np.ones(len(d)), seed, resamples), bounds[0] - bounds[1], bounds[1] - bounds[0]).tolist()
    p = _sign_flips(d, seed)
    return Comparison(
        metric=metric,
        first=first,
        second=second,
        difference=float(d.mean()),
        low=low,
        high=high,
        n=len(d),
        p=p,
        p_holm=p,
        resolved=p < 0.05,
        more_stories=more_stories(d, resolved=p < 0.05),
    )


def _sign_flips(d: Array, seed: int) -> float:
    """Two-sided p of a paired permutation test: the share of random signs with a mean at least as far from 0."""
    rng = np.random.default_rng(seed)
    observed, hits, done = abs(d.mean()), 0, 0
    rows = max(1, 2_000_000 // len(d))
    while done < FLIPS:
        signs = rng.integers(0, 2, (min(rows, FLIPS - done), len(d))) * 2 - 1
        hits += int((np.abs((signs * d).mean(axis=1)) >= observed - 1e-12).sum())
        done += len(signs)
    return (hits + 1) / (done + 1)


def more_stories(differences: Sequence[float] | Array, *, resolved: bool) -> int | None:
    """Number of further stories that would resolve this mean difference at 80 % power, from its spread.

    0 if it is resolved; None if there is no difference.
    """
    d = np.asarray(differences, float)
    if resolved:
        return 0
    if len(d) < 2 or d.mean() == 0:
        return None
    needed = ((Z_LEVEL + Z_POWER) * d.std(ddof=1) / d.mean()) ** 2
    return max(1, max(FEWEST, math.ceil(needed)) - len(d)) if math.isfinite(needed) else None


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Holm's correction over the pairs compared on each metric."""
    by_metric: dict[str, list[Comparison]] = {}
    for c in comparisons:
        by_metric.setdefault(c.metric, []).append(c)
    return [c for group in by_metric.values() for c in _holm(group)]


def _holm(group: list[Comparison]) -> list[Comparison]:
    order = sorted(range(len(group)), key=lambda i: group[i].p)
    corrected, largest = list(group), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, group[i].p * (len(group) - rank)))
        resolved = largest < 0.05
        more = 0 if resolved else group[i].more_stories or None
        corrected[i] = group[i].model_copy(update={"p_holm": largest, "resolved": resolved, "more_stories": more})
    return corrected


def spearman(x: Sequence[float] | Array, y: Sequence[float] | Array) -> float | None:
    """Spearman's rank correlation, ties by mean ranks. None for fewer than three pairs, or if one side is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(x), rankdata(y)
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def wilson(right: float, n: int) -> dict[str, float]:
    """`share` of `right` (ties may count as half) in n, with `low` and `high` of Wilson's 95 % interval (1927), rounded to 1e-4."""
    share = right / n
    centre, spread = share + Z_LEVEL**2 / (2 * n), Z_LEVEL * (share * (1 - share) / n + Z_LEVEL**2 / (4 * n * n)) ** 0.5
    low, high = ((centre + sign * spread) / (1 + Z_LEVEL**2 / n) for sign in (-1, 1))
    return {"share": round(share, 4), "low": round(max(0.0, low), 4), "high": round(min(1.0, high), 4)}
