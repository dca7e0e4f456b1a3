"""Intervals cover, tests find what is there and not what is not, and the number of further stories is about right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ts_eval.calibration.agreement import STATISTICS, interval
from ts_eval.stats import compare, estimate, holm, more_stories, ratio, spearman


def test_the_interval_covers_the_mean_about_95_times_in_100():
    rng = np.random.default_rng(0)
    hits = 0
    for i in range(200):
        e = estimate(rng.normal(3, 1, 60).tolist(), seed=i, resamples=400)
        hits += e.low <= 3 <= e.high
    assert 180 <= hits <= 199


@pytest.mark.parametrize("n", [2, 3, 5, 8, 20])
def test_intervals_of_few_stories_cover_too(n):
    rng, hits = np.random.default_rng(n), {"mean": 0, "ratio": 0, "difference": 0, "bias": 0}
    for _ in range(400):
        x, y, sizes = rng.normal(3, 1, n), rng.normal(4, 1, n), rng.integers(100, 300, n)
        found = {
            "mean": estimate(x.tolist(), resamples=200),
            "ratio": ratio((rng.normal(3, 0.4, n) * sizes).tolist(), sizes.tolist(), resamples=200),
            "difference": compare("m", "a", "b", (x - 3).tolist(), y.tolist(), resamples=200),
        }
        for name, value in (("mean", 3), ("ratio", 3), ("difference", 4)):
            hits[name] += found[name].low <= value <= found[name].high
        low, high = interval(np.subtract, y, x)
        hits["bias"] += low <= 1 <= high
    assert all(364 <= count <= 396 for count in hits.values()), hits


def test_the_interval_of_few_shares_stays_within_0_and_1_and_is_no_point():
    none, most = estimate([0.0] * 6, share=True), estimate([1.0] * 5 + [0.5], share=True)
    assert (none.low, none.high) == (0.0, pytest.approx(0.3903, abs=1e-4))
    assert 0 < most.low < most.mean < most.high <= 1
    assert estimate([1.0], share=True).low is None
    assert estimate([0.0, 1.0] * 30, share=True) == estimate([0.0, 1.0] * 30)


def test_few_stories_have_students_interval():
    x = [2.0, 3.5, 4.0, 7.0]
    found = ttest_1samp(x, 0).confidence_interval(0.95)
    assert (estimate(x).low, estimate(x).high) == pytest.approx((found.low, found.high))


def test_intervals_of_few_stories_are_cut_to_the_bounds():
    x, y = [0.0, 0.1, 1.0], [1.0, 0.8, 0.3]
    assert (estimate(x).low, estimate(y).high) < (0, 1.4)
    assert (estimate(x, bounds=(0, 1)).low, estimate(x, bounds=(0, 1)).high) == (0, 1)
    assert ratio([0.1, 2.0], [1.0, 1.0], bounds=(1, math.inf), exp=True).low == 1
    found = compare("m", "a", "b", [0.0, 0.0, 0.9], [1.0, 1.0, 0.1], bounds=(0, 1))
    assert (found.low, found.high) == (-1, 1)
    errors, biases = (interval(STATISTICS[name][0], np.array([10, 10, 10.0]), np.array([1, 1, 8.0])) for name in ("mae", "bias"))
    assert errors[1] == biases[1] == 9
    assert errors[0] == 0 > biases[0]


def test_unscored_stories_are_in_no_number():
    e = estimate([1.0, None, 3.0])
    assert (e.mean, e.n, e.unscored) == (2.0, 2, 1)
    assert estimate([None]).mean is None
    assert estimate([5.0]).low is None


def test_ratio_is_of_sums():
    e = ratio([1.0, 30.0], [1.0, 10.0])
    assert e.mean == pytest.approx(31 / 11)
    assert ratio([], []).mean is None
    assert ratio([0.0, 0.0], [1.0, 1.0], exp=True).mean == 1


def test_a_difference_is_found_and_none_is_not():
    rng = np.random.default_rng(1)
    base = rng.normal(0, 1, 80)
    there = compare("m", "a", "b", base.tolist(), (base + rng.normal(0.5, 1, 80)).tolist())
    none = compare("m", "a", "b", base.tolist(), (base + rng.normal(0, 1, 80)).tolist())
    assert there.resolved
    assert there.low > 0
    assert there.more_stories == 0
    assert not none.resolved
    assert none.more_stories > 0
    assert compare("m", "a", "b", [1.0, None], [None, 2.0]) is None


def test_more_stories_give_80_percent_power():
    rng = np.random.default_rng(2)
    pilot = np.concatenate([np.full(10, 1.3), np.full(10, -0.7)])  # mean 0.3, SD about 1.03
    total = len(pilot) + more_stories(pilot, resolved=False)
    draws = rng.normal(0.3, pilot.std(ddof=1), (2000, total))
    found = np.abs(draws.mean(1) / (draws.std(1, ddof=1) / np.sqrt(total))) > 1.96
    assert 0.76 < found.mean() < 0.86
    assert more_stories([1.0, -1.0], resolved=False) is None


@pytest.mark.parametrize("n", [2, 4, 5])
def test_differences_without_spread_need_stories_enough_for_the_test(n):
    few = compare("m", "a", "b", [0.0] * n, [1.0] * n)
    assert not few.resolved
    assert not compare("m", "a", "b", [0.0] * 5, [1.0] * 5).resolved
    assert compare("m", "a", "b", [0.0] * (n + few.more_stories), [1.0] * (n + few.more_stories)).resolved


def test_holm_by_hand():
    base = compare("m", "a", "b", [0.0, 0.0, 0.0], [1.0, 1.1, 0.9])
    ps = [0.01, 0.04, 0.03]
    corrected = holm([base.model_copy(update={"p": p, "first": str(p)}) for p in ps])
    assert [c.p_holm for c in corrected] == pytest.approx([0.03, 0.06, 0.06])
    assert [c.resolved for c in corrected] == [True, False, False]


def test_spearman():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)
    assert spearman([1, 2, 3], [1, 1, 1]) is None
