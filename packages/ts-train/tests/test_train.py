"""Whole runs, tiny: what lands on disk, exact resume, refusals, failures."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ts_models.artefact import sha256_file
from ts_train import BaseCallback, Run, StepMetrics, StopTraining, TrainConfig, ValidationMetrics, resume, train
from ts_train.checkpoint import CheckpointStore
from ts_train.errors import ArtefactError, ConfigError, DataError, DiskFullError, DivergedError, Interrupted
from ts_train.sinks.jsonl import read_metrics
from ts_train.testing import FakeEncoded, FakeSplit, TinyNetwork, fake_encoded

from .conftest import plain_config

Make = Callable[..., TrainConfig]


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The tensors of the last checkpoint: weights, optimizer, average."""
    store = CheckpointStore(run / "checkpoints")
    return store.load()[1]


def same(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run of the plain config. Read only."""
    torch.set_num_threads(1)
    return train(plain_config(), fake_encoded(), tmp_path_factory.mktemp("whole") / "run")


HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)
"""Windows has no SIGHUP."""


class StopAt(BaseCallback):
    """Sends this process a signal, or raises, at given steps."""

    def __init__(self, *steps: int, number: int = signal.SIGTERM) -> None:
        self.steps, self.number = list(steps), number

    def on_step(self, metrics: StepMetrics) -> None:
        if metrics.step in self.steps:
            self.steps.remove(metrics.step)
            os.kill(os.getpid(), self.number)


class Crash(BaseCallback):
    """What SIGKILL leaves: nothing after this step is written."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, metrics: StepMetrics) -> None:
        if metrics.step == self.step:
            raise RuntimeError("killed")


# --- what a run leaves -------------------------------------------------------------------------


def test_a_run_leaves_a_model_metrics_and_checkpoints(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    out = tmp_path / "run"
    told: list[tuple[str, int, int | None]] = []
    run = train(config(), data, out, progress=lambda stage, done, total=None: told.append((stage, done, total)))
    assert isinstance(run, Run)
    assert run.stopped is None
    assert told[-1] == ("train", 8, 8)
    steps = [row for row in run.metrics if row["kind"] == "step"]
    assert [row["step"] for row in steps] == list(range(1, 9))
    assert all(math.isfinite(row["loss"]) and row["grad_norm"] > 0 and 0 <= row["padding"] < 1 for row in steps)
    assert steps[-1]["tokens"] == run.state.tokens == run.summary.tokens
    assert [p.step for p in run.state.curve] == [4, 8]
    assert run.state.curve[-1].validation_loss < math.log(32)  # better than a guess
    training = json.loads((out / "model" / "training.json").read_text())
    assert training["steps"] == 8
    assert [p["step"] for p in training["curve"]] == [4, 8]
    assert (out / "model" / "config.json").exists()
    assert run.manifest.cut_stories > 0
    best = load_file(out / "model" / "model.safetensors")
    assert all(torch.equal(best[name], p) for name, p in run.model.named_parameters())
    assert not list(tmp_path.rglob(".*.ts-*"))


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config(seed=seed), data, tmp_path / name)
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")


def test_any_module_trains_and_learns(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    run = train(config(model={}, max_steps=60, validation={"every": 20}), data, tmp_path / "run", model=TinyNetwork())
    assert run.manifest.model is None
    assert run.summary.parameters == sum(p.numel() for p in TinyNetwork().parameters())
    assert run.state.best_loss is not None
    assert run.state.best_loss < 3.0
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_validation_is_the_mean_over_the_whole_splits_tokens(data: FakeEncoded, whole: Run) -> None:
    run = whole
    nats = tokens = 0.0
    split = data["validation"]
    with torch.no_grad():
        for start, end in zip(split.offsets[:-1], split.offsets[1:], strict=True):
            story = torch.from_numpy(split.ids[start:end].astype(np.int64))[:17]
            scores = run.model(story[None, :-1])[0].log_softmax(-1)
            nats -= float(scores.gather(1, story[1:, None]).sum())
            tokens += len(story) - 1
    best = next(p for p in run.state.curve if p.step == run.state.best_step)
    assert best.validation_loss == pytest.approx(nats / tokens, rel=1e-5)


@pytest.mark.parametrize("changes", [
    {"optimizer": {"name": "muon"}}, {"ema_decay": 0.9}, {"precision": "bf16"}, {"batch": {"batch_size": 8, "arrangement": "shuffled"}},
    {"batch": {"batch_size": 4, "arrangement": "packed"}}, {"batch": {"tokens_per_step": 96, "curriculum": "difficulty"}},
    {"batch": {"tokens_per_step": 96, "curriculum": "length"}}, {"schedule": {"name": "wsd", "warmup_steps": 2}}, {"grad_clip": None},
    {"max_steps": None, "max_tokens": 600}, {"max_steps": None, "epochs": 0.5},
])  # fmt: skip
def test_every_option_runs_and_resumes_to_the_bit(
    tmp_path: Path, data: FakeEncoded, config: Make, changes: dict[str, Any]
) -> None:
    settings = config(**changes)
    whole = train(settings, data, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train(settings, data, tmp_path / "cut", callbacks=[Crash(3)])
    resumed = resume(tmp_path / "cut", data=data)
    assert resumed.state.step == whole.state.step > 3
    assert same(tmp_path / "whole", tmp_path / "cut")


# --- limits ------------------------------------------------------------------------------------


def test_a_token_budget_ends_at_the_first_step_that_reaches_it(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    run = train(config(max_steps=None, max_tokens=600), data, tmp_path / "run")
    assert 600 <= run.state.tokens < 600 + 96


def test_minutes_too_few_for_the_whole_validation_score_part_of_it(tmp_path: Path, config: Make) -> None:
    data = fake_encoded(stories=6000)  # a thousand validation stories
    run = train(config(max_steps=2, max_minutes=0.02), data, tmp_path / "run")
    assert run.manifest.validation_stories is not None
    assert 8 <= run.manifest.validation_stories < 1000
    assert run.state.step >= 1


def test_early_stopping(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    frozen = config(max_steps=40, optimizer={"name": "adamw", "lr": 1e-30}, validation={"every": 1, "patience": 3})
    run = train(frozen, data, tmp_path / "run")
    assert run.state.step == 4
    assert run.stopped == "no better validation loss in 3 validations"


def test_a_callback_prunes(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    class Prune(BaseCallback):
        def on_validation(self, metrics: ValidationMetrics) -> None:
            raise StopTraining("pruned")

    run = train(config(), data, tmp_path / "run", callbacks=[Prune()])
    assert (run.stopped, run.state.step) == ("pruned", 4)
    assert resume(tmp_path / "run", data=data).state.step == 4  # finished: nothing to go on with


# --- exact resume ------------------------------------------------------------------------------


@pytest.fixture
def heard() -> Iterator[None]:
    """Signals as a command in the foreground finds them: a job in the background begins with Ctrl-C ignored."""
    before = {n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGTERM, signal.SIGINT, HANGUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, HANGUP])
def test_a_signal_saves_at_once_and_the_resume_is_exact(
    tmp_path: Path, data: FakeEncoded, config: Make, whole: Run, number: signal.Signals
) -> None:
    with pytest.raises(Interrupted, match=r"step 3 of 8; go on with: ts-train resume .*/cut$") as stopped:
        train(config(), data, tmp_path / "cut", callbacks=[StopAt(3, number=number)])
    assert stopped.value.signal == number
    assert CheckpointStore(tmp_path / "cut" / "checkpoints").steps()[-1] == 3  # nothing is computed again
    with pytest.raises(Interrupted):
        resume(tmp_path / "cut", data=data, callbacks=[StopAt(5)])  # killed twice
    resume(tmp_path / "cut", data=data)
    assert same(whole.path, tmp_path / "cut")
    expected, found = (sha256_file(path / "model" / "model.safetensors") for path in (whole.path, tmp_path / "cut"))
    assert found == expected


@pytest.mark.usefixtures("heard")
def test_a_run_that_nohup_began_outlives_its_terminal(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    for number in (HANGUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    done = train(config(), data, tmp_path / "run", callbacks=[StopAt(2, number=HANGUP), StopAt(3, number=signal.SIGINT)])
    assert done.state.step == 8


@pytest.mark.parametrize("step", range(1, 9))
def test_a_crash_after_any_step_resumes_to_the_same_bits_and_metrics(
    tmp_path: Path, data: FakeEncoded, config: Make, whole: Run, step: int
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        train(config(), data, tmp_path / "cut", callbacks=[Crash(step)])
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "step": 99, "lo')  # a line cut short
    resumed = train(config(), data, tmp_path / "cut")  # the same command goes on, too
    assert same(whole.path, tmp_path / "cut")
    timing = {"seconds", "tokens_per_second", "mfu"}
    rows = [[{k: v for k, v in row.items() if k not in timing} for row in run.metrics] for run in (whole, resumed)]
    assert rows[0] == rows[1]


def test_a_crash_within_an_accumulation_resumes_to_the_same_bits(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    class Dies(TinyNetwork):
        """Killed in its ninth forward pass of training: some micro-batches of a step have left their gradients."""

        passes = 0

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            self.passes += self.training
            if self.passes == 9:
                raise RuntimeError("killed")
            return super().forward(ids)

    settings = config(model={})
    for name in ("whole", "cut"):
        torch.manual_seed(5)
        model = TinyNetwork(dropout=0.1) if name == "whole" else Dies(dropout=0.1)
        with nullcontext() if name == "whole" else pytest.raises(RuntimeError, match="killed"):
            train(settings, data, tmp_path / name, model=model)
    last = [row["step"] for row in read_metrics(tmp_path / "cut" / "metrics.jsonl")][-1]
    assert CheckpointStore(tmp_path / "cut" / "checkpoints").steps()[-1] == last == 2, "it died within step 3"
    resume(tmp_path / "cut", data=data, model=TinyNetwork(dropout=0.1))
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_changed_data_are_refused(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    with pytest.raises(Interrupted):
        train(config(), data, tmp_path / "run", callbacks=[StopAt(3)])
    with pytest.raises(DataError, match="not the data"):
        resume(tmp_path / "run", data=fake_encoded(seed=2))


def test_other_settings_are_refused_by_name(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    train(config(), data, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"other settings \(grad_clip, seed\)"):
        train(config(seed=7, grad_clip=2.0), data, tmp_path / "run")


def test_threads_are_restored_and_a_changed_environment_is_said(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    with pytest.raises(Interrupted):
        train(config(), data, tmp_path / "run", callbacks=[StopAt(3)])
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace(str(torch.__version__), "2.0.0"))
    torch.set_num_threads(2)
    said: list[str] = []
    resume(tmp_path / "run", data=data, warn=said.append)
    assert torch.get_num_threads() == 1
    assert len(said) == 1
    assert "torch is" in said[0]


def test_a_half_precision_run_on_a_cpu_without_units_for_it_is_warned_of_on_resume_too(
    tmp_path: Path, data: FakeEncoded, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ts_train.runtime.hardware._cpu_flags", lambda: frozenset({"amx_bf16"}))
    said: list[str] = []
    with pytest.raises(Interrupted):
        train(
            config(precision="auto", model={}),
            data,
            tmp_path / "run",
            model=TinyNetwork(),
            callbacks=[StopAt(1)],
            warn=said.append,
        )
    assert json.loads((tmp_path / "run" / "config.json").read_text())["precision"] == "bf16"
    assert said == []
    monkeypatch.setattr("ts_train.runtime.hardware._cpu_flags", frozenset)
    resume(tmp_path / "run", data=data, model=TinyNetwork(), warn=said.append)
    assert ["4 to 20 times" in line for line in said] == [True]


def test_a_truncated_checkpoint_costs_its_own_steps_only(tmp_path: Path, data: FakeEncoded, config: Make, whole: Run) -> None:
    with pytest.raises(Interrupted):
        train(config(), data, tmp_path / "cut", callbacks=[StopAt(5)])
    tensors = tmp_path / "cut" / "checkpoints" / "step-00000005" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-7])
    said: list[str] = []
    resume(tmp_path / "cut", data=data, warn=said.append)
    assert "cut short or damaged" in said[0]
    assert same(whole.path, tmp_path / "cut")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, data: FakeEncoded, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ts_train.run.plan_run", lambda *_: pytest.fail("computed"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match=r"file: cannot hold a run \(a file of that name is in the way\)"):
        train(config(), data, tmp_path / "file")
    with pytest.raises(ArtefactError, match="is not UTF-8"):  # no checkpoint in it could be read again
        train(config(), data, tmp_path / "caf\udce9")
    monkeypatch.setattr("tempfile.TemporaryFile", _read_only)
    with pytest.raises(ArtefactError, match=r"run: cannot hold a run \(Read-only file system\). Choose another --out"):
        train(config(), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(ArtefactError, match=r"Make it writable, or go on with a copy"):  # resume has no --out
        train(config(), data, tmp_path / "run")


def _read_only(*_: Any, **__: Any) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_no_run_and_no_whole_checkpoint(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    with pytest.raises(ArtefactError, match="no such file"):
        resume(tmp_path / "nothing", data=data)
    train(config(), data, tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoints").rglob("state.json"):
        file.write_text("{")
    with pytest.raises(ArtefactError, match="no whole checkpoint"):
        resume(tmp_path / "run", data=data)


def test_ones_own_model_starts_where_it_stood(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    torch.manual_seed(5)
    start = TinyNetwork()
    settings = config(model={}, checkpoint={"every": 100})
    import copy

    train(settings, data, tmp_path / "whole", model=copy.deepcopy(start))
    with pytest.raises(RuntimeError, match="killed"):
        train(settings, data, tmp_path / "cut", model=copy.deepcopy(start), callbacks=[Crash(2)])
    with pytest.raises(ConfigError, match="pass it again"):
        resume(tmp_path / "cut", data=data)
    resume(tmp_path / "cut", data=data, model=TinyNetwork())  # another start: the stored one counts
    assert same(tmp_path / "whole", tmp_path / "cut")


# --- failures ----------------------------------------------------------------------------------


class Poisoned(TinyNetwork):
    """Gives NaN on chosen forward passes of training."""

    def __init__(self, *passes: int) -> None:
        super().__init__()
        self.passes, self.done = passes, 0

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits = super().forward(ids)
        if self.training:
            self.done += 1
            if self.done in self.passes:
                logits = logits * float("nan")
        return logits


def test_a_nan_is_skipped_counted_and_changes_nothing(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    settings = config(model={}, micro_batch_tokens=1000, ema_decay=0.5)
    run = train(settings, data, tmp_path / "run", model=Poisoned(3, 6))
    assert run.state.skipped == 2
    assert [row["step"] for row in run.metrics if row.get("skipped")] == [3, 6]
    assert all(bool(torch.isfinite(t).all()) for t in weights(tmp_path / "run").values())


def test_too_many_in_a_row_stop_the_run_with_a_whole_checkpoint(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    settings = config(model={}, micro_batch_tokens=1000, max_nonfinite=3)
    with pytest.raises(DivergedError, match=r"step 7: skipped 3 steps in a row.*optimizer\.lr"):
        train(settings, data, tmp_path / "run", model=Poisoned(5, 6, 7))
    state, tensors, _ = CheckpointStore(tmp_path / "run" / "checkpoints").load()
    assert state.step >= 4
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values())


class Overflowing(TinyNetwork):
    """Gradients that leave float16's range at the first loss scale: 65,536 / 90 tokens * 200."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids) * 200.0


def test_fp16_overflow_skips_the_step_and_halves_the_scale(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    settings = config(model={}, precision="fp16", micro_batch_tokens=1000, max_steps=14, max_nonfinite=14)
    torch.manual_seed(0)
    run = train(settings, data, tmp_path / "run", model=Overflowing())
    skipped = [row["skipped"] for row in run.metrics if row["kind"] == "step"]
    assert skipped[0] is True
    assert skipped[-1] is False  # the smaller scale fits
    state = CheckpointStore(tmp_path / "run" / "checkpoints").load()[0]
    assert state.scaler["scale"] == 65536.0 * 0.5**run.state.skipped
    assert run.state.skipped >= 1


def test_fp16_resumes_with_its_scale_to_the_bit(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    settings = config(precision="fp16", optimizer={"name": "muon"})
    train(settings, data, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(settings, data, tmp_path / "cut", callbacks=[StopAt(3)])
    resume(tmp_path / "cut", data=data)
    assert same(tmp_path / "whole", tmp_path / "cut")
    assert CheckpointStore(tmp_path / "cut" / "checkpoints").load()[0].scaler["scale"] > 0


def test_out_of_memory_halves_the_micro_batch(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    class Small(TinyNetwork):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            if self.training and ids.numel() > 48:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(ids)

    said: list[str] = []
    torch.manual_seed(0)
    run = train(config(model={}, micro_batch_tokens=96), data, tmp_path / "small", model=Small(), warn=said.append)
    torch.manual_seed(0)
    peer = train(config(model={}, micro_batch_tokens=48), data, tmp_path / "peer", model=TinyNetwork())
    assert run.state.micro_batch_tokens == 48
    assert "micro-batches of 48" in said[0]
    assert run.state.curve[-1].validation_loss == peer.state.curve[-1].validation_loss


def test_a_disk_that_fills_up_anywhere_is_one_clear_error(
    tmp_path: Path, data: FakeEncoded, config: Make, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("ts_train.run_folder.write_weights", full)  # the best model of step 4
        with pytest.raises(DiskFullError, match=r"step 2 is whole.*ts-train resume"):
            train(config(), data, tmp_path / "cut")
    resume(tmp_path / "cut", data=data)
    assert same(whole.path, tmp_path / "cut")


def test_fine_tuning_starts_from_a_model_and_resumes(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    first = train(config(), data, tmp_path / "first")
    settings = config(init_from=str(tmp_path / "first" / "model"), model={}, seed=9, optimizer={"name": "adamw", "lr": 1e-9})
    tuned = train(settings, data, tmp_path / "tuned")
    assert tuned.state.curve[0].validation_loss == pytest.approx(first.state.best_loss, abs=1e-4)  # it began there
    with pytest.raises(RuntimeError, match="killed"):
        train(settings, data, tmp_path / "cut", callbacks=[Crash(3)])
    (tmp_path / "first").rename(tmp_path / "moved away")
    resume(tmp_path / "cut", data=data)
    assert same(tmp_path / "tuned", tmp_path / "cut")


def test_the_talks_rotation_trains_with_and_without_torchtune(
    tmp_path: Path, data: FakeEncoded, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchtune", reason="the extra `torchtune` is not installed")
    settings = config(max_steps=4, model={**config().model, "positions": "rope-embedding"})
    theirs = train(settings, data, tmp_path / "theirs")
    with pytest.raises(Interrupted):
        train(settings, data, tmp_path / "cut", callbacks=[StopAt(2)])
    monkeypatch.setattr("ts_models.layers.positions.has_torchtune", lambda: False)
    ours = train(settings, data, tmp_path / "ours")
    assert (theirs.manifest.environment.rotary, ours.manifest.environment.rotary) == ("torchtune", "ts-models")
    losses = [[row["loss"] for row in run.metrics if row["kind"] == "step"] for run in (theirs, ours)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    said: list[str] = []
    resume(tmp_path / "cut", data=data, warn=said.append)
    assert said == ["rotary is 'ts-models' now and was 'torchtune': the last bits may differ from those of an uninterrupted run"]


def test_the_loss_is_on_the_stories_only(tmp_path: Path, config: Make) -> None:
    data = fake_encoded(longest=14)  # whole in the context
    prompts = {name: np.maximum(1, np.diff(split.offsets) // 2) for name, split in data.items()}
    asked = FakeEncoded({name: replace(split, prompts=prompts[name]) for name, split in data.items()}, data.vocab_size)
    run = train(config(max_steps=3, validation={"every": 3}), asked, tmp_path / "run")
    model, split, nats = run.model, data["validation"], 0.0
    scored = int((np.diff(split.offsets) - prompts["validation"]).sum())
    for i, start in enumerate(prompts["validation"].tolist()):
        ids = torch.from_numpy(split.ids[split.offsets[i] : split.offsets[i + 1]].astype(np.int64))
        with torch.no_grad():
            logits = model(ids[None, :-1])[0]
        nats += float(torch.nn.functional.cross_entropy(logits[start - 1 :], ids[start:], reduction="sum"))
    assert run.state.curve[-1].validation_loss == pytest.approx(nats / scored, rel=1e-5)
    with pytest.raises(DataError, match="not the data that"):
        resume(tmp_path / "run", data=data)


def test_lengths_of_prompts_that_leave_no_story_are_refused(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    wrong: list[Callable[[Any], Any]] = [
        lambda lengths: lengths, lambda lengths: lengths.tolist(), lambda lengths: ["one"] * len(lengths),
        lambda lengths: [1.5] * len(lengths), lambda lengths: [[1]] * len(lengths),
    ]  # fmt: skip
    for prompts in wrong:
        given: Any = {name: replace(split, prompts=prompts(np.diff(split.offsets))) for name, split in data.items()}
        with pytest.raises(DataError, match="split `train`: `prompts` does not give each story a number"):
            train(config(), FakeEncoded(given, data.vocab_size), tmp_path / "run")
    listed: Any = {name: replace(split, prompts=[1] * (len(split.offsets) - 1)) for name, split in data.items()}
    assert train(config(max_steps=1), FakeEncoded(listed, data.vocab_size), tmp_path / "run").state.step == 1


def test_fine_tuning_refuses_another_vocabulary(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    train(config(max_steps=1), data, tmp_path / "first")
    settings = config(init_from=str(tmp_path / "first" / "model"), model={})
    with pytest.raises(DataError, match="vocabulary has 32 entries, the data's 40"):
        train(settings, fake_encoded(vocab_size=40), tmp_path / "tuned")


def test_another_error_of_the_model_is_not_swallowed(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    class Wrong(TinyNetwork):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(config(model={}), data, tmp_path / "run", model=Wrong())


def test_missing_splits_are_named(config: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no vocab_size.*`train` and `validation`"):
        train(config(), {"train": FakeSplit(np.zeros(2, np.uint16), np.array([0, 2]))}, tmp_path)
    with pytest.raises(DataError, match="no split `train`"):
        train(config(), {"validation": FakeSplit(np.zeros(2, np.uint16), np.array([0, 2]))}, tmp_path)


def test_a_context_beyond_the_models_is_refused(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    with pytest.raises(ConfigError, match=r"batch\.context"):
        train(config(batch={"context": 17}), data, tmp_path)
