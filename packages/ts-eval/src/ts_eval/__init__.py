"""Metrics, memorisation, the LLM judge and reports for small story language models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .__about__ import __version__

if TYPE_CHECKING:
    from .evaluation import evaluate
    from .index import Match, Span, StoryIndex
    from .metrics.rouge import rouge
    from .models import open_model
    from .schemas import EvalConfig, SweepConfig
    from .sweeping import sweep

__all__ = ["EvalConfig", "Match", "Span", "StoryIndex", "SweepConfig", "__version__", "evaluate", "open_model", "rouge", "sweep"]

_HOMES = {
    "EvalConfig": ".schemas",
    "Match": ".index",
    "Span": ".index",
    "StoryIndex": ".index",
    "SweepConfig": ".schemas",
    "evaluate": ".evaluation",
    "open_model": ".models",
    "rouge": ".metrics.rouge",
    "sweep": ".sweeping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
