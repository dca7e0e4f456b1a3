"""The judge: six categories, 1–10, by a language model or an estimate in its place. Loaded on use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._calibrate import calibrate
    from ._judge import JudgeRun, estimate_cost, judge_stories
    from ._optimise import optimise_prompt
    from ._ratings_file import read_ratings
    from .feature_judge import FeatureJudge
    from .rating_server import RatingServer, RatingSession
    from .stories import Story, read_stories

__all__ = [
    "FeatureJudge",
    "JudgeRun",
    "RatingServer",
    "RatingSession",
    "Story",
    "calibrate",
    "estimate_cost",
    "judge_stories",
    "optimise_prompt",
    "read_ratings",
    "read_stories",
]

_WHERE = {
    "FeatureJudge": ".feature_judge",
    "JudgeRun": "._judge",
    "RatingServer": ".rating_server",
    "RatingSession": ".rating_server",
    "Story": ".stories",
    "calibrate": "._calibrate",
    "estimate_cost": "._judge",
    "judge_stories": "._judge",
    "optimise_prompt": "._optimise",
    "read_ratings": "._ratings_file",
    "read_stories": ".stories",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name], __name__), name)
