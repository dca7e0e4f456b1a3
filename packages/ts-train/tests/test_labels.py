"""What is recorded is derived from what was built; what a setting does not do is said."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

import ts_models
from ts_train import BaseCallback, StepMetrics, TrainConfig, plot, resume, train
from ts_train.callbacks import RunInfo
from ts_train.checkpoint import CheckpointStore
from ts_train.errors import ConfigError, DataError, DivergedError, Interrupted
from ts_train.network import preset_name
from ts_train.optimizers import build_optimizers
from ts_train.runtime.hardware import best_peak_flops, peak_flops
from ts_train.runtime.live_line import LiveLine
from ts_train.schemas import AdamWConfig, MuonConfig, TrainerState, ValidationPoint
from ts_train.studies.schemas import Choices, Range, SearchConfig
from ts_train.testing import FakeEncoded, TinyNetwork

from .conftest import TINY
from .test_train import Crash, StopAt, same

Make = Callable[..., TrainConfig]


class Told(FakeEncoded):
    """Encoded data that list their stories."""

    def __init__(self, base: FakeEncoded, stories: list[int] | None) -> None:
        super().__init__(base.splits, base.vocab_size)
        self.train_stories = None if stories is None else np.array(stories, dtype=np.uint64)


# --- presets and optimizers --------------------------------------------------------------------


def test_a_network_is_the_preset_that_it_is() -> None:
    small = ts_models.build("story-1m", vocab_size=64, max_seq_len=32, dropout=0.1)
    assert preset_name(small, "story-1m") == "story-1m"
    assert preset_name(small, "story-5m") == "story-1m"
    assert preset_name(small, None) == "story-1m"
    assert preset_name(ts_models.build("story-1m", vocab_size=64, n_layers=1), "story-1m") is None
    assert preset_name(TinyNetwork(), "story-1m") is None


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return ts_models.save(ts_models.build("story-1m", vocab_size=32), tmp_path / "model")


def test_a_start_of_another_architecture_is_one_sentence(
    tmp_path: Path, data: FakeEncoded, config: Callable[..., TrainConfig], model_folder: Path
) -> None:
    """The message held torch's list of every tensor."""
    changed = config(init_from=str(model_folder), model={"d_ff": 40}, max_steps=1)
    with pytest.raises(ConfigError, match=r"changes the shape .*: `\S+` is \[\d+.*\] there, \[80, .*\] here\. Leave") as caught:
        train(changed, data, tmp_path / "run")
    assert len(str(caught.value)) < 300 + len(str(model_folder))


def test_a_preset_that_init_from_contradicts_is_refused(
    tmp_path: Path, data: FakeEncoded, config: Make, model_folder: Path
) -> None:
    fields: dict[str, Any] = {"model": {}, "init_from": str(model_folder), "max_steps": 1}
    with pytest.raises(ConfigError, match=r"`preset`: is story-5m, but .* holds story-1m \(.* parameters\)"):
        train(config(preset="story-5m", **fields), data, tmp_path / "run")
    for preset in ("story-1m", None):
        run = train(config(preset=preset, **fields), data, tmp_path / str(preset))
        assert run.summary.preset == "story-1m"
        assert json.loads((run.path / "model" / "training.json").read_text())["preset"] == "story-1m"
    run = train(config(preset="story-1m", model={"n_layers": 1}, max_steps=1), data, tmp_path / "changed")
    assert run.summary.preset is None
    run = train(config(preset="story-1m", model={}, max_steps=1), data, tmp_path / "own", model=TinyNetwork())
    assert run.summary.preset is None


def test_the_optimizer_is_named_by_what_was_built(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    only_vectors = nn.ParameterList([nn.Parameter(torch.zeros(3))])
    built = [
        build_optimizers(TinyNetwork(width=8), MuonConfig(), vocab_size=32), build_optimizers(TinyNetwork(), AdamWConfig(), vocab_size=32),
        build_optimizers(TinyNetwork(), AdamWConfig(fused=False), vocab_size=32), build_optimizers(only_vectors, MuonConfig(), vocab_size=32),
    ]  # fmt: skip
    assert [b.kind for b in built] == ["muon+adamw-fused", "adamw-fused", "adamw", "adamw-fused"]
    built[1].parts[0] = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    assert built[1].kind == "sgd"
    run = train(config(optimizer={"name": "muon"}, max_steps=1), data, tmp_path / "run")
    assert run.summary.optimizer == run.manifest.environment.optimizer == "muon+adamw-fused"


def test_a_third_optimizer_is_recorded_as_itself(
    tmp_path: Path, data: FakeEncoded, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ts_train.optimizers import Optimizers

    def build(model: nn.Module, config: Any, vocab_size: int, precision: str) -> Optimizers:
        return Optimizers([torch.optim.NAdam(model.parameters(), lr=1e-3)], [])

    monkeypatch.setattr("ts_train.optimizers.adamw.build", build)
    run = train(config(max_steps=1), data, tmp_path / "run")
    assert run.summary.optimizer == "nadam"
    state = CheckpointStore(tmp_path / "run" / "checkpoints").load()[0]
    assert state.environment is not None
    assert state.environment.optimizer == "nadam"


# --- the stories that a model was trained on ---------------------------------------------------


def test_the_model_carries_the_hashes_of_its_stories(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    told = Told(data, [1, 5, 9])
    run = train(config(), told, tmp_path / "run")
    assert run.summary.train_stories == 3
    assert ts_models.read_train_stories(run.path / "model") is not None
    assert ts_models.read_train_stories(run.path / "model").tolist() == [1, 5, 9]
    with pytest.raises(Interrupted):
        train(config(), told, tmp_path / "cut", callbacks=[StopAt(5)])
    resume(tmp_path / "cut", data=told)
    assert ts_models.read_train_stories(tmp_path / "cut" / "model").tolist() == [1, 5, 9]
    assert ts_models.read_train_stories(train(config(), data, tmp_path / "none").path / "model") is None
    own = train(config(model={}), told, tmp_path / "own", model=TinyNetwork())
    assert json.loads((own.path / "model" / "training.json").read_text())["train_stories"] == 3


def test_a_model_that_was_trained_on_carries_both_lists(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    first = train(config(), Told(data, [1, 5]), tmp_path / "first").path / "model"
    settings = config(init_from=str(first), model={})
    with pytest.raises(RuntimeError, match="killed"):
        train(settings, Told(data, [5, 7]), tmp_path / "tuned", callbacks=[Crash(3)])
    resume(tmp_path / "tuned", data=Told(data, [5, 7]))
    assert ts_models.read_train_stories(tmp_path / "tuned" / "model").tolist() == [1, 5, 7]
    unknown = train(config(), Told(data, None), tmp_path / "unknown").path / "model"
    run = train(config(init_from=str(unknown), model={}), Told(data, [5, 7]), tmp_path / "of unknown")
    assert ts_models.read_train_stories(run.path / "model") is None


# --- without validation stories ----------------------------------------------------------------


def test_data_without_validation_stories_train_without_validation(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    empty = copy.copy(data["validation"])
    object.__setattr__(empty, "offsets", np.array([0]))
    object.__setattr__(empty, "ids", empty.ids[:0])
    for number, splits in enumerate(({"train": data["train"]}, {"train": data["train"], "validation": empty})):
        alone = FakeEncoded(splits, data.vocab_size)
        said: list[str] = []
        settings = config(validation={"patience": 2}, ema_decay=0.9)
        whole = train(settings, alone, tmp_path / f"whole {number}", warn=said.append, callbacks=[LiveLine()])
        assert (whole.state.step, whole.state.curve, whole.state.best_loss) == (8, (), None)
        assert "validation.patience does nothing" in " ".join(said)
        assert (whole.path / "model" / "model.safetensors").exists()
        with pytest.raises(Interrupted):
            train(settings, alone, tmp_path / f"cut {number}", callbacks=[StopAt(3)])
        resume(tmp_path / f"cut {number}", data=alone)
        assert same(whole.path, tmp_path / f"cut {number}")
        timed = train(config(max_steps=2, max_minutes=1), alone, tmp_path / f"timed {number}")
        assert timed.state.step == 2


def test_a_study_needs_validation_stories(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    from ts_train.data.dataset import open_data
    from ts_train.studies.trial import run_trial

    alone = open_data(FakeEncoded({"train": data["train"]}, data.vocab_size))
    with pytest.raises(DataError, match="no validation stories, and a study"):
        run_trial("a", config(), alone, tmp_path / "cell")


# --- numbers that are not finite ---------------------------------------------------------------


class Endless(TinyNetwork):
    """Infinite logits in validation, NaN in every second training pass."""

    passes = 0

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        logits = super().forward(ids)
        return logits * (float("nan") if not self.training or self.passes % 2 else 1.0)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_no_file_of_a_run_holds_what_json_does_not_have(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    settings = config(model={}, micro_batch_tokens=1000, sinks=("jsonl", "tensorboard"))
    run = tmp_path / "run"
    with pytest.raises(DivergedError, match="step 8: the weights give no finite loss, so no model was saved"):
        train(settings, data, run, model=Endless(), callbacks=[LiveLine()])
    state = CheckpointStore(run / "checkpoints").load()[0]
    assert math.isnan(state.curve[0].validation_loss)
    for file in run.rglob("*.json"):
        strict(file.read_text())
    rows = [strict(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss"] is None for row in rows if row["kind"] == "step"].count(True) == state.skipped == 4
    assert {row["validation_loss"] for row in rows if row["kind"] == "validation"} == {None}
    plot([run], tmp_path / "loss.png")


@pytest.mark.parametrize("validates", [True, False])
def test_a_run_without_a_finite_model_ends_with_an_error_and_saves_none(
    validates: bool, encoded: Path, tmp_path: Path, data: FakeEncoded, config: Make
) -> None:
    settings = config(optimizer={"name": "adamw", "weight_decay": 1e300}, validation={"every": 4, "samples": 0})
    given = (
        encoded if validates else FakeEncoded({"train": data["train"]}, data.vocab_size)
    )  # encoded/ has stories of several windows
    for call in (lambda: train(settings, given, tmp_path / "run"), lambda: resume(tmp_path / "run", data=given)):
        with pytest.raises(DivergedError, match="the weights give no finite loss, so no model was saved"):
            call()
    assert not (tmp_path / "run" / "model").exists()


def test_the_rows_of_an_older_run_become_json_when_it_is_resumed(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    with pytest.raises(Interrupted):
        train(config(), data, tmp_path / "run", callbacks=[StopAt(5)])
    file = tmp_path / "run" / "metrics.jsonl"
    lines = file.read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), "loss": math.nan, "grad_norm": math.inf})
    file.write_text("\n".join(lines) + "\n")
    resume(tmp_path / "run", data=data)
    assert strict(file.read_text().splitlines()[0])["loss"] is None


# --- settings that do nothing ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": {"name": "linear", "warmup_steps": 8}}, "warm-up of 8 steps is not over within the run of 8"),
        ({"schedule": {"name": "wsd", "warmup_steps": 500}}, "the learning rate never reaches its peak"),
        ({"schedule": {"name": "step", "step_size": 100, "gamma": 0.5}}, "step_size = 100 is not reached in 8 steps"),
        ({"schedule": {"name": "wsd", "decay_fraction": 0.0, "min_factor": 0.1}}, "min_factor does nothing"),
        ({"epochs": 3.0}, "epochs = 3 does nothing: max_steps is the limit"),
        ({"batch": {"tokens_per_step": 96, "arrangement": "shuffled", "bucket": 4}}, "batch.bucket does nothing"),
        ({"batch": {"tokens_per_step": 96, "curriculum_epochs": 2}}, "curriculum_epochs does nothing"),
        ({"optimizer": {"name": "adamw", "decay_all": True, "weight_decay": 0.0}}, "decay_all does nothing"),
        ({"validation": {"every": 4, "patience": 9}}, "patience = 9 cannot be reached"),
        ({"optimizer": {"name": "muon", "cautious": True}}, "cautious does nothing"),
        ({"batch": {"batch_size": 4, "arrangement": "packed"}, "capture": True}, "capture does nothing: packed rows"),
        ({"model": {**TINY, "vocab_size": 99}}, "model.vocab_size = 99 does nothing: the data's vocabulary has 32"),
    ],
)  # fmt: skip
def test_a_setting_that_does_nothing_is_said(
    tmp_path: Path, data: FakeEncoded, config: Make, changes: dict[str, Any], words: str
) -> None:
    said: list[str] = []
    train(config(**changes), data, tmp_path / "run", warn=said.append)
    assert [words in line for line in said if "dropout" not in line] == [True]


def test_settings_that_do_what_they_say_are_not_spoken_of(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    said: list[str] = []
    train(config(schedule={"name": "wsd", "warmup_steps": 2}, max_steps=8), data, tmp_path / "run", warn=said.append)
    assert [line for line in said if "dropout" not in line] == []
    train(config(init_from="nowhere"), data, tmp_path / "own", model=TinyNetwork(), warn=said.append)
    assert ["model" in line or "init_from" in line for line in said if "does nothing" in line] == [True, True]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"low": 0.1, "high": 0.01}, "low 0.1 must be below high 0.01"), ({"low": 1, "high": 1}, "must be below"),
        ({"low": 0.0, "high": 1.0, "log": True}, "positive low"), ({"low": 1, "high": 4, "step": 0}, "step 0 must be positive"),
        ({"low": 1, "high": 4, "step": 9}, "at most high - low"), ({"low": 1, "high": math.inf}, "finite"), ({"choices": [1]}, "at least 2 items"),
        ({"low": 1}, "Field required"), ("0.1 to 1", "valid dictionary"),
    ],
)  # fmt: skip
def test_a_range_that_does_not_hold_is_one_message(space: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        SearchConfig.model_validate({"base": {}, "space": {"optimizer.lr": space}})
    assert caught.value.error_count() == 1


def test_ranges_and_choices_are_still_told_apart() -> None:
    found = SearchConfig.model_validate({"base": {}, "space": {"a": {"low": 1, "high": 2}, "b": {"choices": [1, "x"]}}})
    assert isinstance(found.space["a"], Range)
    assert isinstance(found.space["b"], Choices)
    assert SearchConfig.model_validate_json(found.model_dump_json()) == found


# --- what a user holds -------------------------------------------------------------------------


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


def test_what_a_user_holds_pickles(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    seen: list[Any] = []

    class Keep(BaseCallback):
        def on_start(self, run: RunInfo) -> None:
            seen.append(run)

        def on_step(self, metrics: StepMetrics) -> None:
            seen.append(metrics)

        def on_validation(self, metrics: Any) -> None:
            seen.append(metrics)

    run = train(config(), data, tmp_path / "run", callbacks=[Keep()])
    assert len(run.metrics) == 10
    again = through_pickle(run)
    assert again.metrics == run.metrics
    assert (again.manifest, again.state, again.summary, again.path) == (run.manifest, run.state, run.summary, run.path)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(again.model(ids), run.model(ids))
    held = [run.manifest.config, run.manifest, run.state, LiveLine(), Interrupted("stopped", 15), ConfigError("no"), *seen]
    for value in held:
        copied = through_pickle(value)
        assert type(copied) is type(value)
        assert str(copied) == str(value) or not isinstance(value, Exception)
        assert type(copy.deepcopy(value)) is type(value)
    assert through_pickle(Interrupted("stopped", 15)).signal == 15


# --- the peak ----------------------------------------------------------------------------------


def test_the_best_peak_of_a_machine_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    values = iter([2e9, 5e9, 1e9, 3e9, 4e9, 1e9])
    monkeypatch.setattr("ts_train.runtime.hardware.peak_flops", lambda *_: next(values))
    cpu = torch.device("cpu")
    assert [best_peak_flops(cpu), best_peak_flops(cpu), best_peak_flops(cpu)] == [2e9, 5e9, 5e9]
    assert best_peak_flops(cpu, torch.bfloat16) == 3e9  # another dtype, another peak
    file = tmp_path / "ts-train" / "peak_flops.json"
    assert sorted(json.loads(file.read_text()).values()) == [3e9, 5e9]
    file.write_text("{")
    assert best_peak_flops(cpu) == 4e9  # a damaged cache is none
    file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), 1e17)))
    assert best_peak_flops(cpu) == 1e9  # and so is one that cannot be this machine's


def test_a_measurement_at_a_busy_moment_keeps_the_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    values = iter([4e11, 8e8])
    monkeypatch.setattr("ts_train.runtime.hardware.peak_flops", lambda *_: next(values))
    cpu = torch.device("cpu")
    assert [best_peak_flops(cpu), best_peak_flops(cpu)] == [4e11, 4e11]


@pytest.mark.parametrize("busy", [0, 12])
def test_a_product_that_waits_for_another_program_is_not_taken_for_an_emulated_format(
    monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    """Each product takes 1 ms; the first ones of a size take 100 ms, because the machine is busy."""
    clock = {"now": 0.0}
    sizes: list[int] = []

    def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        sizes.append(len(a))
        clock["now"] += 0.1 if sizes.count(len(a)) <= busy else 0.001
        return a

    monkeypatch.setattr("ts_train.runtime.hardware._fastest_product", lambda *_: multiply)
    monkeypatch.setattr("ts_train.runtime.hardware.time.perf_counter", lambda: clock["now"])
    assert peak_flops(torch.device("cpu")) == pytest.approx(2 * 1024**3 / 0.001)


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ts-train").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert best_peak_flops(torch.device("cpu")) > 0


def test_a_point_without_a_finite_loss_is_null_on_disk_and_nan_in_memory() -> None:
    point = ValidationPoint(step=1, tokens=2, seconds=0.1, train_loss=None, validation_loss=math.inf, bits_per_byte=None)
    state = TrainerState(curve=(point,))
    assert strict(json.dumps(state.model_dump(mode="json")))["curve"][0]["validation_loss"] is None
    assert math.isnan(TrainerState.model_validate(state.model_dump(mode="json")).curve[0].validation_loss)


# --- devices, pictures, numbers ----------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "tpu:0", "xla", ""])
def test_a_device_that_is_not_here_is_one_sentence(tmp_path: Path, data: FakeEncoded, config: Make, device: str) -> None:
    with pytest.raises(ConfigError, match="field `device`") as caught:
        train(config(device=device), data, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_plot_of_no_kind_or_no_run_is_one_sentence(tmp_path: Path, data: FakeEncoded, config: Make) -> None:
    run = train(config(), FakeEncoded({"train": data["train"]}, data.vocab_size), tmp_path / "run").path
    for out in ("loss.xyz", "loss", "loss."):
        with pytest.raises(ConfigError, match=r"no picture of that kind.*\.png"):
            plot([run], tmp_path / out)
    with pytest.raises(ConfigError, match="no run to plot"):
        plot([], tmp_path / "loss.png")
    with pytest.raises(TypeError, match="a list of run folders"):
        plot(str(run), tmp_path / "loss.png")
    assert plot([run], tmp_path / "LOSS.PNG").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.xyz"))


@pytest.mark.parametrize(
    "changes",
    [
        {"max_minutes": math.inf}, {"epochs": math.inf}, {"grad_clip": math.nan}, {"optimizer": {"name": "adamw", "lr": math.inf}},
        {"optimizer": {"name": "adamw", "weight_decay": math.inf}}, {"optimizer": {"name": "adamw", "betas": (0.9, 1.0)}},
        {"optimizer": {"name": "muon", "adamw_betas": (-0.1, 0.9)}}, {"micro_batch_tokens": 0}, {"micro_batch_tokens": -5},
    ],
)  # fmt: skip
def test_numbers_that_no_run_can_use_are_refused(config: Make, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**changes)
