"""Recalibration: the monotone function of a judge's ratings that comes nearest to a reference's (isotonic regression).

It can mend a judge that is generous or stays in the middle; it cannot mend one that ranks stories wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..schemas import CATEGORIES, Rating, Recalibration, Scores

if TYPE_CHECKING:
    from ..schemas import Category


def fit_recalibration(judge: ArrayLike, reference: ArrayLike) -> Recalibration | None:
    """The fitted function with its error on stories left out one by one. None for fewer than 20 stories, or where the judge does not vary."""
    x, y = np.asarray(judge, float), np.asarray(reference, float)
    if len(x) < 20 or x.std() == 0:
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


def recalibrated(ratings: Iterable[Rating], functions: dict[Category, Recalibration]) -> list[Rating]:
    """The ratings with each category's scores taken through its function (linear between knots); categories without one are unchanged."""

    def changed(rating: Rating) -> Rating:
        if rating.scores is None:
            return rating
        scores = {name: getattr(rating.scores, name) for name in CATEGORIES}
        for name, function in functions.items():
            scores[name] = round(float(np.interp(scores[name], function.judge, function.reference)), 4)
        return rating.model_copy(update={"scores": Scores(**scores), "judge": f"{rating.judge} recalibrated"})

    return [changed(rating) for rating in ratings]
