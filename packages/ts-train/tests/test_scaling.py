"""The law is recovered from losses that follow it, its predictions hold, and data that cannot bear a fit are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from ts_train.errors import FitError
from ts_train.studies import scaling

N = np.repeat([2e5, 5e5, 1e6, 3e6], 3)
D = np.tile([3e5, 1e6, 3e6], 4)


def law(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    return 1.2 + 60 / n**0.34 + 100 / d**0.33


def test_known_constants_are_recovered() -> None:
    x = scaling.fit(N, D, law(N, D))
    assert np.exp(x[:3]) == pytest.approx([1.2, 60, 100], rel=1e-3)
    assert x[3:] == pytest.approx([0.34, 0.33], rel=1e-3)


def test_a_law_where_small_networks_gain_less_from_tokens_is_recovered() -> None:
    losses = 1.2 + (700 / N**0.5 + 2000 / D**0.55) ** 0.6
    x = scaling.fit(N, D, losses, joint=True)
    assert np.exp(x[:3]) == pytest.approx([1.2, 700, 2000], rel=0.02)
    assert [*x[3:5], np.exp(x[5])] == pytest.approx([0.5, 0.55, 0.6], rel=0.01)
    beyond = (np.array([3e7]), np.array([1e7]))
    truth = 1.2 + (700 / 3e7**0.5 + 2000 / 1e7**0.55) ** 0.6
    assert np.exp(scaling.predict(x[None], *beyond)[0, 0]) == pytest.approx(truth, rel=1e-3)
    additive = scaling.fit(N, D, losses)
    assert np.exp(scaling.predict(additive[None], *beyond)[0, 0]) > 1.02 * truth  # as real ladders showed
    assert scaling.fit(N, D, law(N, D), joint=True)[5] == pytest.approx(0, abs=1e-2)
    with pytest.raises(FitError, match="7 runs with a loss cannot determine six parameters: eight are the least"):
        scaling.fit(N[:7], D[:7], losses[:7], joint=True)


@pytest.mark.parametrize("joint", [False, True])
def test_derivatives_are_those_of_the_law(joint: bool) -> None:
    x = np.array([[0.2, 6.0, 7.0, 0.5, 0.6, -0.4][: 5 + joint]])
    for column in range(5 + joint):
        step = np.eye(5 + joint)[column] * 1e-6
        slope = (scaling.predict(x + step, N, D) - scaling.predict(x - step, N, D)) / 2e-6
        assert scaling._jacobian(x, N, D, scaling.predict(x, N, D))[:, :, column] == pytest.approx(slope, rel=1e-6)


def test_the_fit_is_that_of_scipy() -> None:
    losses = law(N, D) * np.exp(np.random.default_rng(3).normal(0, 0.003, len(N)))
    best = scaling.fit(N, D, losses)

    def residuals(x: np.ndarray) -> np.ndarray:
        return scaling.predict(x[None], N, D)[0] - np.log(losses)

    start = best * [1, 1, 1, 0.9, 1.1]
    found = least_squares(
        residuals, start, loss="huber", f_scale=scaling.HUBER, xtol=1e-12, ftol=1e-12, gtol=1e-14, x_scale="jac"
    )
    assert found.x == pytest.approx(best, rel=1e-3)


def test_one_wild_run_hardly_moves_the_fit() -> None:
    losses = law(N, D)
    losses[4] *= 1.2  # Huber: an outlier pulls no harder than any other point
    x = scaling.fit(N, D, losses)
    assert np.exp(scaling.predict(x[None], N, D)[0])[[0, 6, 11]] == pytest.approx(law(N, D)[[0, 6, 11]], rel=0.01)


def test_the_interval_holds_the_truth_ten_times_beyond_the_ladder() -> None:
    noise = np.random.default_rng(3).normal(0, 0.003, len(N))
    losses = law(N, D) * np.exp(noise)
    best = scaling.fit(N, D, losses)
    again = scaling.bootstrap(N, D, losses, best, draws=60)
    beyond = (np.array([3e7]), np.array([1e7]))
    low, high = np.percentile(np.exp(scaling.predict(again, *beyond)[:, 0]), [2.5, 97.5])
    assert low < law(*beyond)[0] < high
    assert high - low < 0.6


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (slice(0, 6), "6 runs with a loss cannot determine five parameters"),
        (D < 2e6, "only 2 different token budgets"),
        ((N < 6e5) | (N > 2e6), ""),  # three sizes: enough
        (N < 6e5, "6 runs"),
    ],
)
def test_too_little_is_refused(keep: slice | np.ndarray, message: str) -> None:
    n, d = N[keep], D[keep]
    if not message:
        scaling.check(n, d, law(n, d))
        return
    with pytest.raises(FitError, match=message):
        scaling.fit(n, d, law(n, d))


def test_a_narrow_ladder_and_losses_without_a_trend_are_refused() -> None:
    with pytest.raises(FitError, match=r"span only a factor of 1.4"):
        scaling.fit(np.repeat([1e6, 1.2e6, 1.4e6], 3), np.tile([3e5, 1e6, 3e6], 3), law(N, D)[:9])
    rising = 2 + 0.1 * np.log(N) + 0.1 * np.log(D)  # more of everything is worse: no learning rate fitted
    with pytest.raises(FitError, match=r"sound exponents|no scaling law"):
        scaling.bootstrap(N, D, rising, scaling.fit(N, D, rising), draws=40)
