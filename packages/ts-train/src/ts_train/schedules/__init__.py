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


def factor(config: Any, step: int, total_steps: int, position: float | None = None) -> float:
    """The factor of optimizer step `step` (from 0), with the linear warm-up that all schedules share.

    position: the share of the run that is done, where it is not `step / total_steps`. Warm-up and schedules that count
        steps do not heed it.
    """
    module, name = SCHEDULES[config.name].split(":")
    shape: Callable[[Any, float, int], float] = getattr(import_module(f".{module}", __name__), name)
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    at = step if position is None or config.counts_steps else position * total_steps
    return float(warm * shape(config, at, total_steps))
