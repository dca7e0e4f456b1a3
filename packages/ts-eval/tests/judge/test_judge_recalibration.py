"""Monotone recalibration: mends a judge's scale and not its order, and its error is that of left-out stories."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ts_eval.calibration import calibrate
from ts_eval.calibration.recalibrate import fit_recalibration
from ts_eval.judge import judge_stories
from ts_eval.schemas import JudgeConfig


def test_a_generous_judge_in_the_middle_of_the_scale_is_mended() -> None:
    draw = np.random.default_rng(1)
    true = draw.integers(2, 10, 80).astype(float)
    judge = 6 + 0.3 * (true - 5) + draw.normal(0, 0.05, 80)
    found = fit_recalibration(judge.tolist(), true.tolist())
    assert found is not None
    assert list(found.reference) == sorted(found.reference)
    assert found.mae_before == pytest.approx(np.abs(judge - true).mean(), abs=1e-4)
    assert found.mae_left_out < 0.2 < found.mae_before


def test_the_error_is_that_of_left_out_stories() -> None:
    from sklearn.isotonic import IsotonicRegression

    draw = np.random.default_rng(2)
    judge, true = draw.integers(1, 11, 30).astype(float), draw.integers(1, 11, 30).astype(float)
    found = fit_recalibration(judge.tolist(), true.tolist())
    assert found is not None
    errors = []
    for i in range(30):
        others = np.arange(30) != i
        model = IsotonicRegression(out_of_bounds="clip", y_min=1, y_max=10).fit(judge[others], true[others])
        errors.append(abs(model.predict([judge[i]])[0] - true[i]))
    assert found.mae_left_out == pytest.approx(np.mean(errors), abs=1e-4)
    in_sample = np.abs(np.interp(judge, found.judge, found.reference) - true).mean()
    assert found.mae_left_out > in_sample, "an error on the fitted stories would flatter"


def test_few_stories_and_one_rating_for_all_give_no_function() -> None:
    assert fit_recalibration([1.0, 2.0] * 9, [2.0, 3.0] * 9) is None
    assert fit_recalibration([5.0] * 40, list(np.linspace(1, 10, 40))) is None
    assert fit_recalibration(list(np.linspace(1, 10, 40)), [5.1] * 40) is None, "any judge agrees with one rating for all"


def test_calibrate_reports_it_and_ratings_take_it(tmp_path: Path) -> None:
    texts = [f"Once there was a cat with {n} friends. They all played." for n in range(30)]
    config = JudgeConfig(backend="fake", anchors=False, probe="off")
    run = judge_stories(texts, config)
    rows = [
        {"story": r.text, "rating": [max(1, (v + 1) // 2) for v in map(int, r.scores.as_list())]} for r in run.ratings if r.scores
    ]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = calibrate([tmp_path / "rated.jsonl"], config, damage=False, variants=0)
    functions = report.references[0].recalibration
    assert len(functions) == 6
    assert all(f.mae_left_out < 0.3 < f.mae_before for f in functions.values())
    for rating, row in zip(run.ratings, rows, strict=True):
        assert rating.scores is not None
        given = zip(rating.scores.as_list(), functions.values(), strict=True)
        assert [np.interp(score, f.judge, f.reference) for score, f in given] == pytest.approx(row["rating"], abs=0.01)
