"""Learning-rate schedules: pure functions `(config, step, total_steps) -> factor`, one per module.

`step` counts optimizer steps from 0; the factor multiplies each parameter group's peak learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["SCHEDULES", "factor", "load"]

SCHEDULES = {
    "constant": "ts_train.schedules.constant:constant",
    "cosine": "ts_train.schedules.cosine:cosine",
    "linear": "ts_train.schedules.linear:linear",
    "step": "ts_train.schedules.step:step_lr",
    "wsd": "ts_train.schedules.wsd:wsd",
}
"""Name → "module:function" of (config, step, total_steps). The annotation of `config` is the class of its settings."""


def factor(config: Any, step: int, total_steps: int, position: float | None = None) -> float:
    """The factor of optimizer step `step` (from 0), with the linear warm-up that all schedules share.

    position: the share of the run that is done, where it is not `step / total_steps`. Warm-up and schedules that count
        steps do not heed it.
    """
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    at = step if position is None or config.counts_steps else position * total_steps
    return float(warm * load(config.name)(config, at, total_steps))


def load(name: str) -> Callable[[Any, float, int], float]:
    """The function of this schedule."""
    module, _, function = SCHEDULES[name].partition(":")
    shape: Callable[[Any, float, int], float] = getattr(import_module(module), function)
    return shape
