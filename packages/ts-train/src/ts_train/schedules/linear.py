"""A straight line to `min_factor` (to zero: Bergsma et al. 2025)."""

from __future__ import annotations

from ..schemas import LinearConfig

__all__ = ["linear"]


def linear(config: LinearConfig, step: float, total_steps: int) -> float:
    return 1 - (1 - config.min_factor) * min(1.0, step / max(1, total_steps))
