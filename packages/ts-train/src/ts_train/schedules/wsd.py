"""Stable, then a straight line to `min_factor` over the last part of the run (Hu et al. 2024)."""

from __future__ import annotations

from ..schemas import WSDConfig

__all__ = ["wsd"]


def wsd(config: WSDConfig, step: float, total_steps: int) -> float:
    decay_steps = config.decay_fraction * total_steps
    left = total_steps - step
    share = 1.0 if decay_steps == 0 else min(1.0, max(0, left) / decay_steps)
    return config.min_factor + (1 - config.min_factor) * share
