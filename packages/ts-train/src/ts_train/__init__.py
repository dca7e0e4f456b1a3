"""An AMP trainer for small language models: accumulation, clipping, schedules, exact resume, torchrun."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .__about__ import __version__

if TYPE_CHECKING:
    from ._ablate import ablate
    from ._ladder import ladder
    from ._plot import plot
    from ._recipes import recipe, recipe_names
    from ._run_folder import Run
    from ._search import search
    from ._train import resume, train
    from .callbacks import BaseCallback, Callback, StepMetrics, StopTraining, ValidationMetrics
    from .schemas import RunManifest, TrainConfig

__all__ = [
    "BaseCallback",
    "Callback",
    "Run",
    "RunManifest",
    "StepMetrics",
    "StopTraining",
    "TrainConfig",
    "ValidationMetrics",
    "__version__",
    "ablate",
    "ladder",
    "plot",
    "recipe",
    "recipe_names",
    "resume",
    "search",
    "train",
]

_HOME = {
    **dict.fromkeys(("BaseCallback", "Callback", "StepMetrics", "StopTraining", "ValidationMetrics"), "callbacks"),
    **dict.fromkeys(("RunManifest", "TrainConfig"), "schemas"),
    **dict.fromkeys(("recipe", "recipe_names"), "_recipes"),
    **dict.fromkeys(("resume", "train"), "_train"),
    "Run": "_run_folder",
    **{name: f"_{name}" for name in ("ablate", "ladder", "plot", "search")},
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
