"""Learning-rate schedules: pure functions `(config, step, total_steps) -> factor`.

`step` counts optimizer steps from 0; the factor multiplies each parameter group's peak learning rate.
"""

import math
from collections.abc import Callable
from typing import Any

from ts_models.registry import load_entry

from .registry import SCHEDULES
from .schemas import ConstantConfig, CosineConfig, LinearConfig, StepLRConfig, WSDConfig


def factor(config: Any, step: int, total_steps: int, position: float | None = None) -> float:
    """The factor of optimizer step `step` (from 0), including the linear warm-up that all schedules share.

    position: the completed share of the run, where it is not `step / total_steps`. Warm-up and schedules that count
        steps ignore it.
    """
    shape: Callable[[Any, float, int], float] = load_entry(SCHEDULES[config.name])
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    at = step if position is None or config.counts_steps else position * total_steps
    return float(warm * shape(config, at, total_steps))


def constant(config: ConstantConfig, step: float, total_steps: int) -> float:
    """The same learning rate throughout."""
    return 1.0


def cosine(config: CosineConfig, step: float, total_steps: int) -> float:
    """Half a cosine (Loshchilov & Hutter 2017, without restarts)."""
    share = min(1.0, step / max(1, total_steps))
    return config.min_factor + (1 - config.min_factor) * 0.5 * (1 + math.cos(math.pi * share))


def linear(config: LinearConfig, step: float, total_steps: int) -> float:
    """A straight line to `min_factor` (to zero: Bergsma et al. 2025)."""
    return 1 - (1 - config.min_factor) * min(1.0, step / max(1, total_steps))


def step_lr(config: StepLRConfig, step: float, total_steps: int) -> float:
    """`torch.optim.lr_scheduler.StepLR`, stepped once per optimizer step (the talk's)."""
    return float(config.gamma ** (step // config.step_size))


def wsd(config: WSDConfig, step: float, total_steps: int) -> float:
    """Stable, then a straight line to `min_factor` over the last part of the run (Hu et al. 2024)."""
    decay_steps = config.decay_fraction * total_steps
    share = 1.0 if decay_steps == 0 else min(1.0, max(0, total_steps - step) / decay_steps)
    return config.min_factor + (1 - config.min_factor) * share
