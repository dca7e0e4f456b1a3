"""Measures a judge: against people, against itself, and on damaged stories. Loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .optimise import optimise_prompt
    from .report import calibrate

__all__ = ["calibrate", "optimise_prompt"]

_HOMES = {"calibrate": ".report", "optimise_prompt": ".optimise"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
