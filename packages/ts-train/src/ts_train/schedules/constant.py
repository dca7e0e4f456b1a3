"""The same learning rate throughout."""

from __future__ import annotations

from ..schemas import ConstantConfig

__all__ = ["constant"]


def constant(config: ConstantConfig, step: float, total_steps: int) -> float:
    return 1.0
