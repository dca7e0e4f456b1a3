"""A new optimizer, schedule and sink: one table line each takes it from the settings to the run, the help and the model's card."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ts_train import BaseCallback, StepMetrics, TrainConfig, resume
from ts_train.checkpoint import CheckpointStore
from ts_train.cli import main  # before anything is registered: its help names what is, when it is first imported
from ts_train.optimizers import Optimizers
from ts_train.registry import OPTIMIZERS, SCHEDULES, SINKS
from ts_train.schemas import OptimizerSettings, ScheduleSettings


class SignumConfig(OptimizerSettings):
    name: Literal["signum"] = "signum"
    lr: float = 1e-3
    momentum: float = 0.9

    def idle(self) -> list[str]:
        return ["optimizer.momentum does nothing: it is 0"] if self.momentum == 0 else []


class Signum(torch.optim.Optimizer):
    """The sign of a momentum (Bernstein et al. 2018)."""

    def __init__(self, params: Any, lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                parameter.sub_(mean.sign(), alpha=group["lr"])


def build_signum(model: nn.Module, config: SignumConfig, vocab_size: int, precision: str) -> Optimizers:
    return Optimizers([Signum(model.parameters(), config.lr, config.momentum)], [])


class SawConfig(ScheduleSettings):
    name: Literal["saw"] = "saw"
    teeth: int = 2


def saw(config: SawConfig, step: float, total_steps: int) -> float:
    return 1 - (step * config.teeth / total_steps) % 1


class Lines(BaseCallback):
    """One line of text a step."""

    def on_start(self, run: Any) -> None:
        self.file = run.path / "lines.txt"

    def on_step(self, metrics: StepMetrics) -> None:
        with self.file.open("a") as file:
            file.write(f"{metrics.step} {metrics.lr:.4f}\n")


@pytest.fixture
def _registered() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPTIMIZERS, "signum", f"{__name__}:build_signum")
        patch.setitem(SCHEDULES, "saw", f"{__name__}:saw")
        patch.setitem(SINKS, "lines", f"{__name__}:Lines")
        yield


def command(*words: str | Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ts-train", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
    return int(stop.value.code or 0)


@pytest.mark.usefixtures("_registered")
def test_an_optimizer_a_schedule_and_a_sink(encoded: Path, tmp_path: Path, config: Any, capsys: Any) -> None:
    changes = {
        "optimizer": {"name": "signum", "lr": 0.01, "momentum": 0.0}, "schedule": {"name": "saw"}, "sinks": ["lines"],
        "validation": {"every": 4, "samples": 0},
    }  # fmt: skip
    settings = config(**changes)
    assert TrainConfig.model_validate_json(settings.model_dump_json()) == settings
    content = {**settings.model_dump(mode="json", exclude_defaults=True), **changes}
    run = tmp_path / "run"
    given = [f"--set={name}={value if isinstance(value, int) else json.dumps(value)}" for name, value in _dotted(content)]
    code = command("run", "--data", encoded, "--out", run, "--quiet", *given)
    out, err = capsys.readouterr()
    assert code == 0, err
    assert f"wrote {run / 'model'}: 8 steps, " in out
    assert "optimizer.momentum does nothing: it is 0" in err
    manifest = json.loads((run / "config.json").read_text())
    assert manifest["config"]["optimizer"] == {"name": "signum", "lr": 0.01, "momentum": 0.0}
    assert manifest["config"]["schedule"] == {"name": "saw", "teeth": 2, "warmup_steps": 0}
    assert manifest["environment"]["optimizer"] == "signum"
    rates = [float(line.split()[1]) for line in (run / "lines.txt").read_text().splitlines()]
    assert rates == pytest.approx([0.01 * f for f in (1, 0.75, 0.5, 0.25) * 2])
    state, tensors, _ = CheckpointStore(run / "checkpoints").load()
    assert state.environment is not None
    assert any(name.endswith(".mean") for name in tensors)
    assert resume(run).state.finished
    assert json.loads((run / "model" / "training.json").read_text())["optimizer"] == "signum"
    assert "signum" in (run / "model" / "README.md").read_text()


@pytest.mark.usefixtures("_registered")
def test_the_help_names_what_is_registered() -> None:
    spec = importlib.util.find_spec("ts_train.cli.run")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)  # a copy, as a process has it that registers before
    spec.loader.exec_module(module)
    help_text = get_type_hints(module.run, include_extras=True)["set"].__metadata__[0].help
    for table, names in (("optimizer.name", OPTIMIZERS), ("schedule.name", SCHEDULES), ("sinks", SINKS)):
        assert f"{table}: {', '.join(names)}." in help_text
        assert len(names) > 2


@pytest.mark.usefixtures("_registered")
def test_unknown_names_and_fields_are_answered_with_the_table() -> None:
    with pytest.raises(ValidationError, match=r"there is no 'sigum'; there are .*muon.*, signum"):
        TrainConfig.model_validate({"optimizer": {"name": "sigum"}})
    with pytest.raises(ValidationError, match=r"there is no 'see'; there are .*cosine.*, saw"):
        TrainConfig.model_validate({"schedule": {"name": "see"}})
    with pytest.raises(ValidationError, match="tooth"):
        TrainConfig.model_validate({"schedule": {"name": "saw", "tooth": 1}})


def _dotted(content: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """A table per name, dotted: {"a": {"b": 1}} → [("a.b", 1)]."""
    found = []
    for key, value in content.items():
        found += _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found
