"""Recalibration: the monotone function of a judge's ratings that comes nearest to a reference's (isotonic regression).

It can mend a judge that is generous or stays in the middle; it cannot mend one that ranks stories wrongly.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..schemas import Recalibration


def fit_recalibration(judge: ArrayLike, reference: ArrayLike) -> Recalibration | None:
    """The fitted function (linear between its points) with its error on stories left out one by one. None for fewer than 20 stories, or where one side does not vary."""
    x, y = np.asarray(judge, float), np.asarray(reference, float)
    if len(x) < 20 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    left_out = [abs(float(_fit(np.delete(x, i), np.delete(y, i))([x[i]])[0]) - y[i]) for i in range(len(x))]
    knots = sorted(set(x.tolist()))
    values = _fit(x, y)(np.array(knots))
    return Recalibration(
        stories=len(x), judge=tuple(round(k, 4) for k in knots), reference=tuple(round(float(v), 4) for v in values),
        mae_before=round(float(np.abs(x - y).mean()), 4), mae_left_out=round(float(np.mean(left_out)), 4),
    )  # fmt: skip


def _fit(x: NDArray[Any], y: NDArray[Any]) -> Any:
    from sklearn.isotonic import IsotonicRegression

    return IsotonicRegression(y_min=1, y_max=10, out_of_bounds="clip").fit(x, y).predict
