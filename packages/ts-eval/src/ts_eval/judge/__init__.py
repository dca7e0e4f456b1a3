"""Rates stories in six categories from 1 to 10, by a language model or by an estimate. Loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .features.model import FeatureJudge
    from .files import Story, read_ratings, read_stories
    from .judge import JudgeRun, estimate_cost, judge_stories
    from .rating.server import RatingServer
    from .rating.session import RatingSession

__all__ = [
    "FeatureJudge",
    "JudgeRun",
    "RatingServer",
    "RatingSession",
    "Story",
    "estimate_cost",
    "judge_stories",
    "read_ratings",
    "read_stories",
]

_HOMES = {
    "FeatureJudge": ".features.model",
    "JudgeRun": ".judge",
    "RatingServer": ".rating.server",
    "RatingSession": ".rating.session",
    "Story": ".files",
    "estimate_cost": ".judge",
    "judge_stories": ".judge",
    "read_ratings": ".files",
    "read_stories": ".files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
