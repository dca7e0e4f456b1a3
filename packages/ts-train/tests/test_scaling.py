"""The law is recovered from losses that follow it, its predictions hold, and data that cannot bear a fit are refused."""

from __future__ import annotations

import numpy as np
import pytest

from ts_train import _scaling
from ts_train.errors import FitError

N = np.repeat([2e5, 5e5, 1e6, 3e6], 3)
D = np.tile([3e5, 1e6, 3e6], 4)


def law(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    return 1.2 + 60 / n**0.34 + 100 / d**0.33


def test_known_constants_are_recovered() -> None:
    x = _scaling.fit(N, D, law(N, D))
    assert np.exp(x[:3]) == pytest.approx([1.2, 60, 100], rel=1e-3)
    assert x[3:] == pytest.approx([0.34, 0.33], rel=1e-3)


def test_one_wild_run_hardly_moves_the_fit() -> None:
    losses = law(N, D)
    losses[4] *= 1.2  # Huber: an outlier pulls no harder than any other point
    x = _scaling.fit(N, D, losses)
    assert np.exp(_scaling.predict(x[None], N, D)[0])[[0, 6, 11]] == pytest.approx(law(N, D)[[0, 6, 11]], rel=0.01)


def test_the_interval_holds_the_truth_ten_times_beyond_the_ladder() -> None:
    noise = np.random.default_rng(3).normal(0, 0.003, len(N))
    losses = law(N, D) * np.exp(noise)
    best = _scaling.fit(N, D, losses)
    again = _scaling.bootstrap(N, D, losses, best, draws=60)
    beyond = (np.array([3e7]), np.array([1e7]))
    low, high = np.percentile(np.exp(_scaling.predict(again, *beyond)[:, 0]), [2.5, 97.5])
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
        _scaling.check(n, d, law(n, d))
        return
    with pytest.raises(FitError, match=message):
        _scaling.fit(n, d, law(n, d))


def test_a_narrow_ladder_and_losses_without_a_trend_are_refused() -> None:
    with pytest.raises(FitError, match=r"span only a factor of 1.4"):
        _scaling.fit(np.repeat([1e6, 1.2e6, 1.4e6], 3), np.tile([3e5, 1e6, 3e6], 3), law(N, D)[:9])
    rising = 2 + 0.1 * np.log(N) + 0.1 * np.log(D)  # more of everything is worse: no learning rate fitted
    with pytest.raises(FitError, match=r"sound exponents|no scaling law"):
        _scaling.bootstrap(N, D, rising, _scaling.fit(N, D, rising), draws=40)
