"""`max_minutes` on machines that are slower or quicker than they seemed, by a clock that only these tests turn."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ts_train import BaseCallback, StepMetrics, TrainConfig, Trainer, ValidationMetrics, create_trainer, resume, train
from ts_train.checkpoint import CheckpointStore
from ts_train.data.batches import step_size
from ts_train.runtime import pace as pace_module
from ts_train.runtime.pace import fitting_steps, plan, position, replan, start, trained, validated
from ts_train.schedules import factor
from ts_train.schemas import CosineConfig, LinearConfig, SpeedProbe, StepLRConfig, WSDConfig
from ts_train.testing import FakeEncoded, fake_encoded

Make = Callable[..., TrainConfig]
Cost = Callable[[float], float]
"""Seconds that have passed → seconds that a step takes then."""


def simulate(cost: Cost, *, probed: float, budget: float, validation: float = 0.0, every: int = 50) -> float:
    """Seconds that a run takes whose steps cost `cost` and whose probe measured `probed` seconds a step."""
    probe = SpeedProbe(seconds=0.0, seconds_per_token=probed / 100, validation_seconds=validation)
    pace = start(probe, 1)
    total = fitting_steps(pace, probe, budget=budget, step=0, step_tokens=100.0, validation_every=every)
    pace, now, step = start(probe, total), 0.0, 0
    while step < total:
        took = cost(now)
        now, step = now + took, step + 1
        pace = trained(pace, took, 100)
        if step >= pace.next_plan:
            new_total, last = plan(pace, probe, budget=budget, step=step, total=total, step_tokens=100.0, validation_every=every)
            pace = replan(pace, step=step, total=total, new_total=new_total, last=last)
            total = pace.plans[-1].total_steps if pace.plans else total
        if step % every == 0 or step == total:
            now += validation * took / probed
            pace = validated(pace, validation * took / probed)
    return now


@pytest.mark.parametrize("change", [1 / 3, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("at", [0.0, 0.02, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("validation", [0.0, 2.0])
def test_a_change_of_speed_still_ends_within_a_tenth_of_the_budget(change: float, at: float, validation: float) -> None:
    budget = 600.0
    took = simulate(lambda now: 0.2 * (change if now >= at * budget else 1), probed=0.2, budget=budget, validation=validation)
    assert took == pytest.approx(budget, rel=0.1)


def test_bursts_of_other_work_and_a_short_run() -> None:
    bursts = simulate(lambda now: 0.1 * (3 if int(now / 40) % 2 else 1), probed=0.3, budget=900.0)
    assert bursts == pytest.approx(900, rel=0.1)
    assert simulate(lambda now: 1.0, probed=0.25, budget=60.0) == pytest.approx(60, rel=0.1)
    assert simulate(lambda now: 1.0, probed=4.0, budget=60.0) == pytest.approx(60, rel=0.1)


@pytest.mark.parametrize("schedule", [WSDConfig(), LinearConfig(), CosineConfig(min_factor=0.1)])
def test_the_rate_has_no_jump_and_ends_where_the_schedule_ends(schedule: WSDConfig | LinearConfig | CosineConfig) -> None:
    pace, total, rates = start(SpeedProbe(seconds=0, seconds_per_token=1, validation_seconds=0), 1000), 1000, []
    for step in range(10_000):
        if step == total:
            break
        if step in (200, 700, 900):
            pace = replan(pace, step=step, total=total, new_total={200: 1500, 700: 1000, 900: 1300}[step])
            total = pace.plans[-1].total_steps
        rates.append(factor(schedule, step, total, position(pace, step, total)))
    assert len(rates) == 1300
    assert max(abs(a - b) for a, b in itertools.pairwise(rates)) < 0.01
    assert factor(schedule, total, total, position(pace, total, total)) == pytest.approx(getattr(schedule, "min_factor", 0.0))


def test_a_first_validation_that_compiles_does_not_shorten_the_run() -> None:
    pace = start(SpeedProbe(seconds=0, seconds_per_token=0.01, validation_seconds=1.0), 100)
    assert validated(pace, 30.0).validation_seconds == 2.0
    assert validated(pace, 30.0).elapsed == 30.0
    assert validated(validated(pace, 30.0), 1.5).validation_seconds == 1.5


def test_a_budget_that_is_gone_early_leaves_a_few_steps_to_bring_the_rate_down() -> None:
    probe = SpeedProbe(seconds=0, seconds_per_token=0.01, validation_seconds=0.0)
    pace = trained(start(probe, 100), 70.0, 100)  # 70 s for what should take 1
    pace = pace.model_copy(update={"seconds": 1.0})
    total, last = plan(pace, probe, budget=60, step=20, total=100, step_tokens=100.0, validation_every=10)
    assert (total, last) == (22, True)
    pace = replan(pace, step=20, total=100, new_total=total, last=last)
    assert pace.next_plan > 22
    assert [position(pace, step, 22) for step in (20, 21, 22)] == pytest.approx([0.2, 0.6, 1.0])
    assert plan(pace, probe, budget=60, step=22, total=22, step_tokens=100.0, validation_every=10) == (22, False)


def test_a_plan_changes_nothing_while_the_rate_is_constant() -> None:
    pace = start(SpeedProbe(seconds=0, seconds_per_token=1, validation_seconds=0), 1000)
    pace = replan(pace, step=300, total=1000, new_total=3000)
    schedule = WSDConfig(decay_fraction=0.5)
    assert all(factor(schedule, step, 3000, position(pace, step, 3000)) == 1.0 for step in range(1000))


def test_schedules_that_count_steps_heed_no_plan() -> None:
    schedule = StepLRConfig(step_size=10, gamma=0.5)
    assert [factor(schedule, step, 50, 0.9) for step in (9, 10, 25)] == [1.0, 0.5, 0.25]


# --- whole runs --------------------------------------------------------------------------------


class Clock(BaseCallback):
    """Turns the clock by the cost of each step and validation."""

    def __init__(self, cost: Cost, crash: int | None = None, begun: float = 0.0) -> None:
        self.cost, self.crash, self.time = cost, crash, begun

    def __call__(self) -> float:
        return self.time

    def on_step(self, metrics: StepMetrics) -> None:
        self.time += self.cost(self.time)
        if metrics.step == self.crash:
            raise RuntimeError("killed")

    def on_validation(self, metrics: ValidationMetrics) -> None:
        self.time += 0.5


@pytest.fixture
def minutes(config: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainConfig]:
    """A config of one minute whose probe measures 1 s a step."""
    monkeypatch.setattr(
        "ts_train.plan._time_steps", lambda trainer, limit: trainer.batches.steps_per_epoch / trainer.batches.epoch_tokens
    )

    def make(**changes: object) -> TrainConfig:
        fields = {
            "max_steps": None, "max_minutes": 1.0, "validation": {"every": 10, "samples": 0}, "checkpoint": {"every": 1},
            "schedule": {"name": "wsd"},
        }  # fmt: skip
        return config(**{**fields, **changes})

    return make


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_tokens": 2_000_000}, 2353), ({"max_tokens": 2_000_000, "epochs": 1.0}, 2353), ({"epochs": 100.0}, 2512),
        ({"max_tokens": 9_000_000, "max_steps": 300}, 1028), ({"max_minutes": 5.0}, 1028), ({"max_steps": 0}, 512),
    ],
)  # fmt: skip
def test_a_step_whose_size_is_open_grows_with_the_length_of_the_run(
    minutes: Make, limits: dict[str, object], expected: int
) -> None:
    """Of 23,574 tokens, so 100 epochs are 2.4 million; 300 steps of 1,024 positions, padding included, are 0.25 million."""
    data = fake_encoded(stories=2_000)
    trainer = create_trainer(minutes(**{"max_minutes": None, "batch": {}, **limits}), data)
    assert trainer.manifest.tokens_per_step == expected
    same = create_trainer(minutes(max_minutes=None, max_steps=1, batch={"tokens_per_step": expected}), data)
    assert same.manifest.tokens_per_step is None
    resumed = Trainer(trainer.model, trainer.data, trainer.manifest)
    for batches in (trainer.batches, resumed.batches):
        assert batches.steps_per_epoch == trainer.manifest.steps_per_epoch == same.manifest.steps_per_epoch
        assert [batches.plan(i).padded_tokens for i in range(5)] == [same.batches.plan(i).padded_tokens for i in range(5)]


def test_the_size_of_a_step_by_the_length_of_the_run() -> None:
    assert [step_size(n) for n in (0, 250_000, 2_000_000, 7_000_000)] == [512, 1024, 2353, 3883]


@pytest.mark.parametrize("after", [0.5, 2.5])
def test_a_run_ends_with_its_minutes_and_says_so_in_its_metrics(
    tmp_path: Path, data: FakeEncoded, minutes: Make, monkeypatch: pytest.MonkeyPatch, after: float
) -> None:
    clock = Clock(lambda now: 1.0 if now < 20 else after)
    monkeypatch.setattr(pace_module, "now", clock)
    run = train(minutes(), data, tmp_path / "run", callbacks=[clock])
    assert clock.time == pytest.approx(60, rel=0.1)
    assert run.state.step != run.manifest.total_steps
    assert run.state.pace is not None
    assert run.state.pace.plans[-1].total_steps == run.state.step
    rows = [row for row in run.metrics if row["kind"] == "step"]
    assert rows[0]["total_steps"] == run.manifest.total_steps
    assert rows[-1]["step"] == run.state.step
    assert rows[-1]["lr"] < 0.2 * rows[0]["lr"]  # decayed to the end of the schedule, not cut off


@pytest.mark.parametrize("crash", [5, 23, 31])
def test_a_resume_takes_the_plans_of_the_checkpoint_and_gives_the_same_bits(
    tmp_path: Path, data: FakeEncoded, minutes: Make, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    def cost(now: float) -> float:
        return 1.0 if now < 20 else 2.0

    whole = Clock(cost)
    monkeypatch.setattr(pace_module, "now", whole)
    train(minutes(), data, tmp_path / "whole", callbacks=[whole])
    cut = Clock(cost, crash)
    monkeypatch.setattr(pace_module, "now", cut)
    with pytest.raises(RuntimeError, match="killed"):
        train(minutes(), data, tmp_path / "cut", callbacks=[cut])
    state = CheckpointStore(tmp_path / "cut" / "checkpoints").load()[0]
    assert state.pace is not None
    again = Clock(cost, begun=state.pace.elapsed)
    monkeypatch.setattr(pace_module, "now", again)
    resume(tmp_path / "cut", data=data, callbacks=[again])
    one, other = (CheckpointStore(tmp_path / name / "checkpoints").load() for name in ("whole", "cut"))
    assert one[0].pace == other[0].pace
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])


def test_a_limit_of_steps_holds_beside_the_minutes(
    tmp_path: Path, data: FakeEncoded, minutes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(lambda now: 0.1)
    monkeypatch.setattr(pace_module, "now", clock)
    run = train(minutes(max_steps=70), data, tmp_path / "run", callbacks=[clock])
    assert run.state.step == 70
    assert json.loads((tmp_path / "run" / "config.json").read_text())["probe"]["most_steps"] == 70
