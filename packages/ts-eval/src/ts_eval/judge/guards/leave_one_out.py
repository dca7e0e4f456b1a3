"""Leave-one-out: rates a story again without a passage, and flags it if that passage decides the rating.

Catches attacks that no rule lists, because an attack has to move the rating. Two cases: a passage that the anomaly detector
suspects is left out before the first rating (`without_suspect`); where the mean is near an end of the scale (`is_extreme`), the
passage is unknown, so each part is left out in turn (`without_each_part`).
"""

from collections.abc import Sequence
from statistics import fmean

from ...schemas import Scores
from .anomaly import Detector, packaged_detector, sentence_places
from .base import Guard, Stage

_PARTS, _MIN_SENTENCES = 4, 4
"""A part is a quarter of the story's sentences and at least four; parts overlap by half."""


class LeaveOneOut(Guard):
    """`config.probe` chooses the stories of the first case, `config.probe_extreme` the limit of the second."""

    flag = "one-passage-decides"
    notes = {  # noqa: RUF012 - declared as ClassVar by the base class
        "before": "with a suspect passage rated once more without it",
        "after": "rated near an end of the scale, and so again without each part",
    }

    def variants(self, story: str, scores: Sequence[Scores] | None) -> list[str]:
        """Before: the story without its suspect passage. After: the story without each of its parts, if its mean is extreme."""
        config = self.config
        if config.probe == "off":
            return []
        if scores is None:
            rest = without_suspect(story, every=config.probe == "all")
            return [] if rest is None else [rest]
        extreme = config.probe_extreme is not None and is_extreme(scores, config.probe_extreme)
        return without_each_part(story) if extreme else []

    def rejects(self, stage: Stage, whole: Sequence[Scores], variant: Scores, tolerance: float) -> bool:
        """A suspect passage may decide by one category; a part counts by the mean alone."""
        return (decides if stage == "before" else moves_the_mean)(whole, variant, tolerance)


def without_suspect(story: str, detector: Detector | None = None, *, every: bool = False) -> str | None:
    """The story without its most anomalous passage.

    None where less than half would remain, or (unless `every`) where no passage is suspect.
    """
    detector = detector or packaged_detector()
    passage = detector.passage(story)
    if passage is None or not (every or passage.score > detector.weights.suspect):
        return None
    return _without(story, passage.start, passage.end)


def without_each_part(story: str) -> list[str]:
    """The story without each of its parts in turn: five to nine texts, each with at least half of the story.

    Parts overlap so that any three consecutive sentences (an eighth of a long story) are together in one part.
    """
    found = sentence_places(story)
    size = min(max(_MIN_SENTENCES, -(-len(found) // _PARTS)), len(found) // 2)
    if size == 0:
        return []
    starts = [*range(0, len(found) - size, max(1, size // 2)), len(found) - size]
    rests = [_without(story, found[i][0], found[i + size - 1][1]) for i in starts]
    return list(dict.fromkeys(rest for rest in rests if rest is not None))


def _without(story: str, start: int, end: int) -> str | None:
    rest = f"{story[:start].rstrip()} {story[end:].lstrip()}".strip()
    return rest if 2 * len(rest) >= len(story.strip()) else None


def is_extreme(whole: Sequence[Scores], limit: float) -> bool:
    """Whether the mean over categories and repeats is at least `limit`, or at most 11 - `limit`."""
    mean = _mean(whole)
    return mean >= limit or mean <= 11 - limit


def moves_the_mean(whole: Sequence[Scores], variant: Scores, tolerance: float) -> bool:
    """Whether the mean over categories differs by more than `tolerance`."""
    return abs(_mean(whole) - fmean(variant.as_list())) > tolerance


def decides(whole: Sequence[Scores], variant: Scores, tolerance: float) -> bool:
    """Whether the mean over categories differs by more than `tolerance`, or one category by more than twice as much."""
    means = [fmean(values) for values in zip(*(scores.as_list() for scores in whole), strict=True)]
    changes = [a - b for a, b in zip(means, variant.as_list(), strict=True)]
    return abs(fmean(changes)) > tolerance or max(map(abs, changes)) > 2 * tolerance


def _mean(ratings: Sequence[Scores]) -> float:
    return fmean(fmean(scores.as_list()) for scores in ratings)
