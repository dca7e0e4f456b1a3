"""Learning-rate schedules: pure functions `(config, step, total_steps) -> factor`, one per module.

`step` counts optimizer steps from 0; the factor multiplies each parameter group's peak learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["SCHEDULES", "factor"]

SCHEDULES = {
    "constant": "constant:constant",
    "cosine": "cosine:cosine",
    "linear": "linear:linear",
    "step": "step:step_lr",
    "wsd": "wsd:wsd",
}


def factor(config: Any, step: int, total_steps: int) -> float:
    """The factor of optimizer step `step` (from 0), with the linear warm-up that all schedules share."""
    module, name = SCHEDULES[config.name].split(":")
    shape: Callable[[Any, int, int], float] = getattr(import_module(f".{module}", __name__), name)
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    return float(warm * shape(config, step, total_steps))
