"""Half a cosine (Loshchilov & Hutter 2017, without restarts)."""

from __future__ import annotations

import math

from ..schemas import CosineConfig

__all__ = ["cosine"]


def cosine(config: CosineConfig, step: float, total_steps: int) -> float:
    share = min(1.0, step / max(1, total_steps))
    return config.min_factor + (1 - config.min_factor) * 0.5 * (1 + math.cos(math.pi * share))
