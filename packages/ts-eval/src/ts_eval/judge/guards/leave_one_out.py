"""The probe: a story is rated once more without a passage, and flagged if that one passage decides its rating.

No list of attacks is complete; this asks the judge itself. Whatever a passage says, a story may not owe its rating to it. Two
signs lead to it: a passage that is unlike a story (`without_suspect`), or a rating near an end of the scale (`is_extreme`), where
the passage is not known and each part is left out in turn (`without_each_part`): an attack that reads like a story still has
to move the rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ...schemas import Scores
from .anomaly import Detector, packaged_detector, sentence_places

__all__ = ["FLAG", "decides", "is_extreme", "moves_the_mean", "without_each_part", "without_suspect"]

FLAG = "one-passage-decides"
_PARTS, _LEAST = 4, 4
"""A part is a quarter of the story's sentences and at least four of them; each overlaps half of the one before."""


def without_suspect(story: str, detector: Detector | None = None, *, every: bool = False) -> str | None:
    """The story without its most foreign passage; None where less than half would be left, or (unless `every`) none is suspect."""
    detector = detector or packaged_detector()
    passage = detector.passage(story)
    if passage is None or not (every or passage.score > detector.weights.suspect):
        return None
    return _without(story, passage.start, passage.end)


def without_each_part(story: str) -> list[str]:
    """The story without each of its parts in turn, five to nine texts; half of it at least is left in each.

    The parts overlap so that three sentences in a row (in long stories an eighth of it) always stand together in one.
    """
    found = sentence_places(story)
    size = min(max(_LEAST, -(-len(found) // _PARTS)), len(found) // 2)
    if size == 0:
        return []
    starts = [*range(0, len(found) - size, max(1, size // 2)), len(found) - size]
    rests = [_without(story, found[i][0], found[i + size - 1][1]) for i in starts]
    return list(dict.fromkeys(rest for rest in rests if rest is not None))


def _without(story: str, start: int, end: int) -> str | None:
    rest = f"{story[:start].rstrip()} {story[end:].lstrip()}".strip()
    return rest if 2 * len(rest) >= len(story.strip()) else None


def is_extreme(whole: Sequence[Scores], limit: float) -> bool:
    """Whether the mean of the six categories (and of the repeats) is at least `limit`, or as near to the lower end."""
    mean = _mean(whole)
    return mean >= limit or mean <= 11 - limit


def moves_the_mean(whole: Sequence[Scores], rest: Scores, tolerance: float) -> bool:
    """Whether the mean of the six categories changes by more than `tolerance` without the part."""
    return abs(_mean(whole) - fmean(rest.as_list())) > tolerance


def decides(whole: Sequence[Scores], rest: Scores, tolerance: float) -> bool:
    """Whether the ratings of the whole story (its repeats' mean) and of the rest differ by more than noise.

    That is `tolerance` points in the mean of the six, or twice as many in one of them.
    """
    means = [fmean(values) for values in zip(*(scores.as_list() for scores in whole), strict=True)]
    changes = [a - b for a, b in zip(means, rest.as_list(), strict=True)]
    return abs(fmean(changes)) > tolerance or max(map(abs, changes)) > 2 * tolerance


def _mean(ratings: Sequence[Scores]) -> float:
    return fmean(fmean(scores.as_list()) for scores in ratings)
