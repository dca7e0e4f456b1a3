"""A tiny ladder: its runs, its refusal, its table; predictions from cells that follow a known law."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ts_train import ladder
from ts_train.errors import ConfigError
from ts_train.studies.ladder import fit_law
from ts_train.studies.schemas import LadderConfig, Prediction, TrialResult
from ts_train.testing import FakeEncoded

SIZES = {"xs": {"model": {"d_ff": 8}}, "s": {}, "m": {"model": {"d_ff": 48}}}


def cell(n: int, d: int, loss: float | None) -> TrialResult:
    return TrialResult(
        name=f"{n}-{d}", seed=1, identity="", parameters=n, steps=1, tokens=d, seconds=1.0, flops=6.0 * n * d, loss=loss,
        bits_per_byte=None,
    )  # fmt: skip


def test_runs_every_size_at_every_budget_and_says_why_there_is_no_fit(
    base: dict[str, Any], data: FakeEncoded, tmp_path: Path
) -> None:
    base = {key: value for key, value in base.items() if key != "max_steps"} | {"epochs": 7}
    config = LadderConfig(base=base, sizes=SIZES, tokens=(100, 200, 400), predict=("talk-1m",))
    warnings: list[str] = []
    report = ladder(config, data, tmp_path, warn=warnings.append)
    assert warnings == ["epochs = 7 does nothing: max_tokens is the limit."], "once for all runs"
    assert len(report.cells) == 9
    assert [c.tokens >= budget for c, budget in zip(report.cells, [100] * 3 + [200] * 3 + [400] * 3, strict=True)] == [True] * 9
    assert report.fit is None
    assert report.refusal is not None
    assert "sizes span only a factor" in report.refusal
    assert json.loads((tmp_path / "results.json").read_text()) == report.model_dump(mode="json")
    assert (tmp_path / "plot.png").stat().st_size > 5000
    assert ladder(config, data, tmp_path) == report  # from the cells


@pytest.mark.parametrize(
    ("batch", "steps"), [({}, [1024, 3883]), ({"tokens_per_step": 96}, [96, 96]), ({"batch_size": 9}, [None, None])]
)
def test_says_which_steps_a_prediction_takes(
    base: dict[str, Any],
    data: FakeEncoded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: dict[str, Any],
    steps: list[int | None],
) -> None:
    found = [
        Prediction(preset="talk-1m", parameters=1, tokens=n, loss=1, interval=(1, 1), beyond=1) for n in (250_000, 7_000_000)
    ]
    monkeypatch.setattr("ts_train.studies.ladder.fit_law", lambda *_, **__: (None, found))
    report = ladder(LadderConfig(base={**base, "batch": batch, "max_steps": 1}, sizes=SIZES, tokens=(1, 2, 3)), data, tmp_path)
    assert [p.tokens_per_step for p in report.predictions] == steps
    taken = {json.loads(file.read_text())["tokens_per_step"] for file in tmp_path.glob("cells/*/run/config.json")}
    assert taken == {512 if batch == {} else None}  # the runs leave it open too: the least, for runs of a step


def test_predicts_from_cells_of_a_known_law(tmp_path: Path) -> None:
    def law(n: float, d: float) -> float:
        return 1.5 + 80 / n**0.35 + 150 / d**0.36

    cells = [cell(n, d, law(n, d)) for n in (90_000, 225_000, 508_000, 1_000_000) for d in (250_000, 500_000, 1_000_000)]
    cells.append(cell(3_000_000, 250_000, None))  # diverged: in no fit
    fitted, predictions = fit_law(cells, [("story-35m", 35_154_176)], (1_000_000, 10_000_000), draws=40)
    assert fitted.points == 12
    assert (fitted.e, fitted.alpha, fitted.beta) == pytest.approx((1.5, 0.35, 0.36), rel=0.01)
    assert [p.loss for p in predictions] == pytest.approx([law(35_154_176, 1e6), law(35_154_176, 1e7)], rel=1e-3)
    assert predictions[1].beyond == pytest.approx(351.5, rel=0.01)

    from ts_train.studies.plots import plot_ladder
    from ts_train.studies.schemas import LadderReport

    config = LadderConfig(base={}, sizes=SIZES, tokens=(1, 2, 3))
    report = LadderReport(
        config=config, data_fingerprint="", cells=tuple(cells), fit=fitted, refusal=None, predictions=predictions
    )
    from ts_train.cli.studies import ladder_text

    told = ladder_text(report)
    assert "loss = 1.5 + 80 / N^0.35" in told
    assert "story-35m" in told
    plot_ladder(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_two_sizes_and_an_unknown_preset_are_refused_before_training(
    base: dict[str, Any], data: FakeEncoded, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match="at least three"):
        LadderConfig(base=base, sizes={"xs": {}, "s": {}}, tokens=(1, 2, 3))
    with pytest.raises(Exception, match="Did you mean 'story-5m'"):
        ladder(LadderConfig(base=base, sizes=SIZES, tokens=(1, 2, 3), predict=("story-5",)), data, tmp_path)
    for fields, message in (({"seeds": (1, 1)}, "same seed"), ({"predict_tokens": (0,)}, "must be positive")):
        with pytest.raises(ValidationError, match=message):
            LadderConfig.model_validate({"base": base, "sizes": SIZES, "tokens": (1, 2, 3), **fields})
    bad = {**SIZES, "m": {"model": {"kind": "transformer"}, "optimizer": {"lrr": 1}}}
    with pytest.raises(ConfigError, match="size 'm'"):
        ladder(LadderConfig(base=base, sizes=bad, tokens=(1, 2, 3)), data, tmp_path)
    assert not list(tmp_path.iterdir())
