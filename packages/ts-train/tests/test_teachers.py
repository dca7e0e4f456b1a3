"""Distillation: the teachers' prediction is a part of each target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import ts_models
from ts_models import read_train_stories
from ts_models.errors import TsModelsError
from ts_train import TrainConfig, create_trainer, resume, train
from ts_train.data.batches import IGNORED
from ts_train.errors import ArtefactError, ConfigError, DataError
from ts_train.loss import nll_sum
from ts_train.testing import FakeEncoded, fake_encoded

from .test_train import Crash

Make = Callable[..., TrainConfig]


@pytest.fixture
def teachers(tmp_path: Path, data: FakeEncoded, config: Make) -> tuple[str, ...]:
    """Two models of other shapes and seeds."""
    folders = []
    for seed, width in ((5, 16), (6, 32)):
        settings = config(seed=seed, model={**config().model, "d_model": width}, max_steps=4)
        folders.append(str(train(settings, data, tmp_path / f"teacher-{seed}").path / "model"))
    return tuple(folders)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["chunked", "torch"])
def test_the_loss_is_the_cross_entropy_with_mixed_targets(form: str, weighted: bool) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 40, 300) * 3, torch.randint(0, 300, (3, 40))
    targets[1, 7:] = IGNORED
    soft = 0.4 * torch.softmax(torch.randn(3, 40, 290), -1)  # logits may be more than the data's vocabulary
    weights = torch.rand(3, 40) if weighted else None
    real = (targets != IGNORED).float()
    wanted = F.pad(soft, (0, 10)) + 0.6 * F.one_hot(targets.clamp_min(0), 300)
    ours, theirs = (logits.double() if form == "torch" else logits).requires_grad_(), logits.detach().clone().requires_grad_()
    expected = (-(wanted * F.log_softmax(theirs, -1)).sum(-1) * real * (1 if weights is None else weights)).sum()
    found = nll_sum(ours * 1.0, targets, weights=weights, soft=soft)
    expected.backward()
    found.backward()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad.float(), theirs.grad, rtol=1e-4, atol=1e-5)
    assert not ours.grad[1, 7:].any()


@pytest.mark.parametrize("arrangement", ["bucketed", "packed", "recorded"])
def test_a_step_learns_the_mean_of_the_teachers(
    data: FakeEncoded, config: Make, teachers: tuple[str, ...], arrangement: str
) -> None:
    recorded = arrangement == "recorded"
    batch = {"tokens_per_step": 96, "arrangement": "bucketed" if recorded else arrangement}
    settings = config(
        batch=batch,
        capture=recorded,
        micro_batch_tokens=96,
        teachers=teachers,
        teacher_weight=0.3,
        model={**config().model, "dropout": 0.0},
    )
    trainer = create_trainer(settings, data)
    plan, models = trainer.batches.plan(0), [ts_models.load(folder).model.eval() for folder in teachers]
    expected = 0.0
    for piece in trainer.batches.micro_batches(plan, rank=0, world_size=1, max_tokens=10**6):
        segments = {} if piece.segments is None else {"segments": piece.segments}
        with torch.no_grad():
            mean = torch.stack([model(piece.ids, **segments).softmax(-1) for model in models]).mean(0)
            logs = trainer.model(piece.ids, **segments).log_softmax(-1)
        wanted = 0.3 * mean + 0.7 * F.one_hot(piece.targets.clamp_min(0), 32)
        expected -= float(((wanted * logs).sum(-1) * (piece.targets != IGNORED)).sum())
    with trainer.recorded():
        assert trainer.train_step().loss == pytest.approx(expected / plan.tokens, rel=1e-5)


def test_a_run_without_teachers_is_what_it_was(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    plain, weighted = train(config(), data, tmp_path / "a"), train(config(teacher_weight=0.5), data, tmp_path / "b")
    assert [row["loss"] for row in plain.metrics if row["kind"] == "step"] == [
        row["loss"] for row in weighted.metrics if row["kind"] == "step"
    ]


def test_an_idle_weight_is_named(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    said: list[str] = []
    train(config(teacher_weight=0.5), data, tmp_path / "run", warn=said.append)
    assert said == ["teacher_weight does nothing: there are no teachers."]


def test_a_good_teacher_helps(tmp_path: Path, config: Make) -> None:
    """One that saw twenty times as many stories of the same kind."""
    batch = {"micro_batch_tokens": 256, "batch": {"tokens_per_step": 256}, "validation": {"every": 1000, "samples": 0}}
    settings = config(**batch, model={**config().model, "dropout": 0.0, "d_model": 32}, checkpoint={"every": 1000}, max_steps=60)
    teacher = train(settings.model_copy(update={"max_steps": 100}), fake_encoded(stories=1200), tmp_path / "teacher")
    losses = []
    for name, teachers in (("alone", ()), ("taught", (str(teacher.path / "model"),))):
        run = train(settings.model_copy(update={"teachers": teachers}), fake_encoded(stories=60), tmp_path / name)
        losses.append(run.state.curve[-1].validation_loss)
    assert losses[1] < losses[0] - 0.2


def test_a_resumed_run_has_the_same_bits_and_refuses_changed_teachers(
    tmp_path: Path, data: FakeEncoded, config: Make, teachers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(teachers=teachers)
    whole = train(settings, data, tmp_path / "whole")
    assert len(set(whole.manifest.teachers_sha256)) == 2
    monkeypatch.chdir(tmp_path)
    settings = config(teachers=tuple(str(Path(folder).relative_to(tmp_path)) for folder in teachers))
    for name in ("cut", "changed"):
        with pytest.raises(RuntimeError, match="killed"):
            train(settings, data, tmp_path / name, callbacks=[Crash(3)])
    monkeypatch.chdir("/")
    resumed = resume(tmp_path / "cut", data=data)
    both = [(run.path / "model" / "model.safetensors").read_bytes() for run in (whole, resumed)]
    assert both[0] == both[1]
    assert resumed.manifest.flops_per_token > train(config(), data, tmp_path / "plain").manifest.flops_per_token
    config_of = ts_models.load(teachers[1]).config
    ts_models.save(ts_models.build(config_of), teachers[1])
    with pytest.raises(ArtefactError, match=r"teacher-6.*not those that .*changed began with"):
        resume(tmp_path / "changed", data=data)


def test_teachers_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, config: Make, teachers: tuple[str, ...]
) -> None:
    with pytest.raises(DataError, match=r"teacher-5/model: this teacher's vocabulary is not that of the data\. Choose another"):
        train(config(teachers=teachers), fake_encoded(vocab_size=40), tmp_path / "run")
    longer = config(teachers=teachers, model={**config().model, "max_seq_len": 20})
    with pytest.raises(ConfigError, match="reads 16 tokens, rows have up to 20"):
        train(longer, fake_encoded(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_stories_of_the_teachers_count_as_training_stories(
    tmp_path: Path, data: FakeEncoded, config: Make, teachers: tuple[str, ...]
) -> None:
    """A student may know by its teacher what its own data do not hold."""
    data.train_stories = np.array([1, 2], dtype=np.uint64)  # type: ignore[attr-defined]
    taught = train(config(teachers=teachers), data, tmp_path / "unknown")
    assert read_train_stories(taught.path / "model") is None  # those of the teachers are not known
    for folder, stories in zip(teachers, ([2, 3], [9]), strict=True):
        model = ts_models.load(folder)
        ts_models.save(model.model, folder, training=model.training, train_stories=np.array(stories, dtype=np.uint64))
    taught = train(config(teachers=teachers), data, tmp_path / "known")
    assert read_train_stories(taught.path / "model").tolist() == [1, 2, 3, 9]  # type: ignore[union-attr]


def test_a_teacher_that_is_gone_is_named_and_a_finished_run_needs_none(
    tmp_path: Path, data: FakeEncoded, config: Make, teachers: tuple[str, ...]
) -> None:
    settings = config(teachers=teachers)
    done = train(settings, data, tmp_path / "done")
    with pytest.raises(RuntimeError, match="killed"):
        train(settings, data, tmp_path / "cut", callbacks=[Crash(3)])
    Path(teachers[0]).rename(tmp_path / "moved")
    assert resume(tmp_path / "done", data=data).state.curve == done.state.curve
    with pytest.raises(ArtefactError, match=r"cut: a teacher of this run cannot be read: .*teacher-5.*Put it back\."):
        resume(tmp_path / "cut", data=data)
    with pytest.raises(TsModelsError, match="teacher-5/model: no such folder"):
        train(settings, data, tmp_path / "cut")
