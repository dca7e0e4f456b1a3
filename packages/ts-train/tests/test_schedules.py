from __future__ import annotations

from typing import get_type_hints

import pytest
import torch
from pydantic import TypeAdapter

from ts_models.registry import load_entry
from ts_train.registry import SCHEDULES
from ts_train.schedules import factor
from ts_train.schemas import (
    ConstantConfig,
    CosineConfig,
    LinearConfig,
    ScheduleConfig,
    StepLRConfig,
    WSDConfig,
)


def test_each_schedule_takes_the_settings_of_its_name() -> None:
    described = TypeAdapter(ScheduleConfig).json_schema()["discriminator"]["mapping"]
    assert {"constant", "cosine"} <= set(described) <= set(SCHEDULES)
    for name, entry in SCHEDULES.items():
        settings = get_type_hints(load_entry(entry))["config"]
        assert settings.model_fields["name"].default == name


def test_step_is_torchs_step_lr() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.7)
    for step in range(20):
        assert factor(StepLRConfig(step_size=3, gamma=0.7), step, 20) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ConstantConfig(), [1, 1, 1, 1, 1]),
        (LinearConfig(), [1, 0.75, 0.5, 0.25, 0]),
        (LinearConfig(min_factor=0.5), [1, 0.875, 0.75, 0.625, 0.5]),
        (CosineConfig(), [1, 0.853553, 0.5, 0.146447, 0]),
        (WSDConfig(decay_fraction=0.5), [1, 1, 1, 0.5, 0]),
        (WSDConfig(decay_fraction=0.0), [1, 1, 1, 1, 1]),
    ],
)
def test_by_hand(config: object, expected: list[float]) -> None:
    assert [factor(config, step, 100) for step in (0, 25, 50, 75, 100)] == pytest.approx(expected, abs=1e-6)


def test_warm_up_rises_from_above_zero_to_one() -> None:
    rising = [factor(ConstantConfig(warmup_steps=4), step, 100) for step in range(6)]
    assert rising == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
