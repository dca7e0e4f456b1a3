"""`torch.optim.lr_scheduler.StepLR`, stepped once per optimizer step (the talk's)."""

from __future__ import annotations

from ..schemas import StepLRConfig

__all__ = ["step_lr"]


def step_lr(config: StepLRConfig, step: float, total_steps: int) -> float:
    return float(config.gamma ** (step // config.step_size))
