from __future__ import annotations

import pytest

from ts_train.studies.ablation import mean, mean_interval


def test_by_hand() -> None:
    assert mean([1.0, 2.0, 3.0]) == 2.0
    # s = 1, n = 3, t(2) = 4.3027: half width 4.3027 / √3
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.48416, 2 + 2.48416), abs=1e-4)


def test_nothing_is_made_up_for_too_few_values() -> None:
    assert mean([]) is None
    assert mean_interval([1.0]) is None


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.7062), (31, 2.0423), (32, 2.0395), (121, 1.9799)])
def test_quantiles_against_tables(count: int, quantile: float) -> None:
    values = [float(i) for i in range(count)]
    low, high = mean_interval(values) or (0.0, 0.0)
    deviation = (sum((v - (count - 1) / 2) ** 2 for v in values) / (count - 1)) ** 0.5
    assert (high - low) / 2 == pytest.approx(quantile * deviation / count**0.5, rel=1e-4)
