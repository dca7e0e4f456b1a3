"""An optimizer and a schedule of somebody's own, from the settings to the run folder: one function and one line in the table each."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import Field, ValidationError
from torch import nn

import ts_train
from ts_train.optimizers import OPTIMIZERS, Optimizers
from ts_train.schedules import SCHEDULES
from ts_train.schemas import ScheduleSettings, Settings, TrainConfig
from ts_train.testing import fake_encoded


class SgdConfig(Settings):
    name: Literal["sgd"] = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float = 0.9


class InverseConfig(ScheduleSettings):
    name: Literal["inverse"] = "inverse"
    half: int = Field(10, ge=1)


def build(model: nn.Module, config: SgdConfig, vocab_size: int, precision: str) -> Optimizers:
    return Optimizers([torch.optim.SGD(model.parameters(), lr=config.lr, momentum=config.momentum)], [])


def inverse(config: InverseConfig, step: float, total_steps: int) -> float:
    return config.half / (config.half + step)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("own_training_parts")
    vars(module).update(build=build, inverse=inverse)
    monkeypatch.setitem(sys.modules, "own_training_parts", module)
    monkeypatch.setitem(OPTIMIZERS, "sgd", "own_training_parts:build")
    monkeypatch.setitem(SCHEDULES, "inverse", "own_training_parts:inverse")


def config(**changes: Any) -> TrainConfig:
    model = {"kind": "transformer", "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 16, "max_seq_len": 32}
    given = {"model": model, "max_steps": 4, "sinks": ["jsonl"], "optimizer": {"name": "sgd"}, "schedule": {"name": "inverse"}}
    return TrainConfig.model_validate({**given, "checkpoint": {"every": 2}, **changes})


def test_settings_are_validated_by_their_own_class() -> None:
    assert config().optimizer == SgdConfig()
    assert config(optimizer=SgdConfig(lr=0.5)).optimizer.lr == 0.5
    with pytest.raises(ValidationError, match="greater than 0"):
        config(optimizer={"name": "sgd", "lr": -1})
    with pytest.raises(ValidationError, match="betas"):
        config(optimizer={"name": "sgd", "betas": [0.9, 0.95]})
    with pytest.raises(ValidationError, match="optimizer"):
        config(optimizer={"name": "sgdd"})
    again = TrainConfig.model_validate_json(config(optimizer={"name": "sgd", "lr": 0.25}).model_dump_json())
    assert again.optimizer == SgdConfig(lr=0.25)
    assert again.schedule == InverseConfig()


@pytest.mark.filterwarnings("error")
def test_they_train_and_the_run_records_them(tmp_path: Path) -> None:
    run = ts_train.train(config(), fake_encoded(), tmp_path / "run")
    assert run.manifest.environment.optimizer == "sgd"
    assert run.summary.optimizer == "sgd"
    rates = [row["lr"] for row in run.metrics if "lr" in row]
    assert rates == pytest.approx([0.1 * 10 / (10 + step) for step in range(4)])
    assert '"momentum": 0.9' in (tmp_path / "run" / "config.json").read_text(encoding="utf-8")
