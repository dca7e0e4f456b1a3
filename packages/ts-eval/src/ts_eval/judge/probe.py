"""The probe: a story with a suspect passage is rated once more without it, and flagged if that one passage decides its rating.

No list of attacks is complete; this asks the judge itself. Whatever a passage says, a story may not owe its rating to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from .._judge_schemas import Scores
from .foreign import Detector, packaged_detector

__all__ = ["FLAG", "decides", "without_suspect"]

FLAG = "one-passage-decides"


def without_suspect(story: str, detector: Detector | None = None, *, every: bool = False) -> str | None:
    """The story without its most foreign passage; None where less than half would be left, or (unless `every`) none is suspect."""
    detector = detector or packaged_detector()
    passage = detector.passage(story)
    if passage is None or not (every or passage.score > detector.weights.suspect):
        return None
    rest = f"{story[: passage.start].rstrip()} {story[passage.end :].lstrip()}".strip()
    return rest if 2 * len(rest) >= len(story.strip()) else None


def decides(whole: Sequence[Scores], rest: Scores, tolerance: float) -> bool:
    """Whether the ratings of the whole story (its repeats' mean) and of the rest differ by more than noise.

    That is `tolerance` points in the mean of the six, or twice as many in one of them.
    """
    means = [fmean(values) for values in zip(*(scores.as_list() for scores in whole), strict=True)]
    changes = [a - b for a, b in zip(means, rest.as_list(), strict=True)]
    return abs(fmean(changes)) > tolerance or max(map(abs, changes)) > 2 * tolerance
