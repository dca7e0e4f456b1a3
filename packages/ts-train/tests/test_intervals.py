from __future__ import annotations

import pytest

from ts_train._intervals import mean, mean_interval, t_quantile


def test_by_hand() -> None:
    assert mean([1.0, 2.0, 3.0]) == 2.0
    # s = 1, n = 3, t(2) = 4.3027: half width 4.3027 / √3
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.48416, 2 + 2.48416), abs=1e-4)


def test_nothing_is_made_up_for_too_few_values() -> None:
    assert mean([]) is None
    assert mean_interval([1.0]) is None


def test_quantiles_against_tables() -> None:
    assert (t_quantile(1), t_quantile(30)) == (12.7062, 2.0423)
    assert t_quantile(31) == pytest.approx(2.0395, abs=2e-4)
    assert t_quantile(120) == pytest.approx(1.9799, abs=2e-4)
