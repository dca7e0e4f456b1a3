"""The recorded step on a CPU, where it runs unrecorded: the same batches, losses and resume as the step that is launched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ts_train import TrainConfig, recipe, recipe_names, train
from ts_train.data.batches import Batches
from ts_train.recipes import combine
from ts_train.runtime.capture import CapturedStep, ResidentStories
from ts_train.sinks.jsonl import read_metrics
from ts_train.testing import FakeEncoded, fake_encoded

CPU = torch.device("cpu")
Make = Callable[..., TrainConfig]


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "step"]


@pytest.mark.parametrize(("pad_to", "prompts"), [(1, False), (8, False), (8, True)])
def test_resident_stories_make_the_batches_that_the_host_makes(pad_to: int, prompts: bool) -> None:
    split = fake_encoded()["train"]
    split = replace(split, prompts=np.diff(split.offsets) // 2 if prompts else None)
    batches = Batches(split, context=16, seed=1, pad_id=31, max_tokens=96, pad_to=pad_to)
    stories = ResidentStories(batches, CPU)
    for step in range(batches.steps_per_epoch):
        plan = batches.plan(step)
        (wanted,) = batches.micro_batches(plan, rank=0, world_size=1, max_tokens=10**9)
        rows = np.concatenate(plan.rows)
        starts, lengths = torch.from_numpy(batches.offsets[rows]), torch.from_numpy(batches.lengths[rows])
        made = stories.batch(starts, lengths, torch.from_numpy(batches.unscored[rows]), wanted.ids.shape[1])
        assert torch.equal(made.ids, wanted.ids)
        assert torch.equal(made.targets, wanted.targets)


def test_widths_are_rounded_up_but_never_over_the_context() -> None:
    batches = Batches(fake_encoded(longest=40)["train"], context=20, seed=1, pad_id=31, max_tokens=96, pad_to=8)
    widths = {batches.micro_batches(batches.plan(s), rank=0, world_size=1, max_tokens=10**9)[0].ids.shape[1] for s in range(40)}
    assert widths <= {8, 16, 20}
    assert len(widths) > 1
    assert all(batches.plan(s).padded_tokens <= 96 for s in range(40))


def test_no_step_has_more_positions_than_asked_for_where_widths_are_rounded_further_than_buckets() -> None:
    batches = Batches(fake_encoded(longest=40)["train"], context=40, seed=1, pad_id=31, max_tokens=160, bucket=4, pad_to=16)
    assert max(batches.plan(s).padded_tokens for s in range(batches.steps_per_epoch)) <= 160


@pytest.mark.parametrize("optimizer", [
    {"name": "adamw", "lr": 0.01},
    {"name": "muon", "weight_decay": 0.1},
    {"name": "muon", "weight_decay": 0.1, "cautious": True},
])  # fmt: skip
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_recorded_run_has_the_losses_of_a_launched_one(
    tmp_path: Path, data: FakeEncoded, config: Make, optimizer: dict[str, Any], precision: str
) -> None:
    runs = {}
    for name, on in (("launched", False), ("recorded", True)):
        settings = config(
            capture=on, optimizer=optimizer, precision=precision, micro_batch_tokens=96, max_steps=30, ema_decay=0.9
        )
        runs[name] = train(settings, data, tmp_path / name)
    assert runs["recorded"].manifest.environment.capture
    exact = 1e-5 if precision == "fp32" else 2e-2
    assert losses(tmp_path / "recorded") == pytest.approx(losses(tmp_path / "launched"), rel=exact)
    assert losses(tmp_path / "recorded")[-1] < losses(tmp_path / "recorded")[0] - 0.1


def test_a_recorded_run_resumes_to_the_bit(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    settings = config(capture=True, micro_batch_tokens=96, optimizer={"name": "muon"})
    whole = train(settings, data, tmp_path / "whole")

    class CrashError(RuntimeError):
        pass

    def stop(stage: str, done: int, total: int | None = None) -> None:
        if done == 5:
            raise CrashError

    with pytest.raises(CrashError):
        train(settings, data, tmp_path / "killed", progress=stop)
    resumed = train(settings, data, tmp_path / "killed")
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_a_step_beyond_one_micro_batch_is_launched(
    tmp_path: Path, data: FakeEncoded, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed: list[int] = []
    gradients = CapturedStep.gradients
    monkeypatch.setattr(
        CapturedStep, "gradients", lambda self, plan: replayed.append(plan.padded_tokens) or gradients(self, plan)
    )
    settings = {"batch": {"batch_size": 6}, "micro_batch_tokens": 60}  # widths from 4 to 16
    train(config(capture=True, **settings), data, tmp_path / "recorded")
    train(config(**settings), data, tmp_path / "launched")
    assert replayed
    assert max(replayed) <= 60
    assert len(replayed) < 8
    assert losses(tmp_path / "recorded") == pytest.approx(losses(tmp_path / "launched"), rel=1e-5)


def test_a_step_that_is_not_finite_changes_no_weight(
    tmp_path: Path, data: FakeEncoded, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = CapturedStep.gradients

    def poisoned(self: CapturedStep, plan: Any) -> torch.Tensor:
        values = gradients(self, plan)
        return values * float("nan") if self.batches.plan(3) is plan else values

    monkeypatch.setattr(CapturedStep, "gradients", poisoned)
    run = train(config(capture=True, micro_batch_tokens=96), data, tmp_path / "run")
    assert run.state.skipped == 1
    assert run.state.best_loss is not None


# --- recipes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_a_form_for_a_gpu(name: str) -> None:
    cpu, gpu = TrainConfig.model_validate(recipe(name)), TrainConfig.model_validate(recipe(name, device="cuda"))
    assert recipe(name, device="cpu") == recipe(name)
    assert not cpu.capture
    assert gpu.capture == (name.rsplit("-", 1)[1] not in {"rnn", "lstm", "gru"})
    assert gpu.model_copy(update={f: getattr(cpu, f) for f in ("batch", "optimizer", "capture")}) == cpu
    if name.startswith("talk"):
        assert gpu.optimizer == cpu.optimizer
        assert gpu.batch.batch_size == 64
        return
    assert gpu.batch.tokens_per_step is not None
    assert cpu.batch.tokens_per_step is None  # by the length of the run
    times = (gpu.batch.tokens_per_step / 1024) ** 0.5  # steps of 512 to 6,000 on a CPU keep the rates of 1,024
    for rate in ("lr", "adamw_lr"):
        assert getattr(gpu.optimizer, rate) == pytest.approx(times * getattr(cpu.optimizer, rate), rel=2e-3)


def test_what_a_user_sets_goes_over_the_form_for_a_gpu() -> None:
    asked = combine(recipe("story-1m", device="cuda"), {"batch": {"batch_size": 64}, "capture": False})
    settings = TrainConfig.model_validate(asked)
    assert (settings.batch.batch_size, settings.batch.tokens_per_step, settings.capture) == (64, None, False)


def test_auto_takes_the_gpus_form_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert ("capture" in recipe("story-1m", device="auto")) == there
