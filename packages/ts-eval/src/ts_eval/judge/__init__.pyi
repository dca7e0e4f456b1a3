from .compare import compare_stories
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
    "compare_stories",
    "estimate_cost",
    "judge_stories",
    "read_ratings",
    "read_stories",
]
