"""Summary of a run: coverage, means, noise over repeats, drift. A missing rating is missing, never 0."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..schemas import CATEGORIES, Category, JudgeConfig, JudgeSummary, Rating, Scores
from .budget import cost
from .drift import drift

if TYPE_CHECKING:
    from .results import Checked

UNNAMED = "stories"
"""Source of stories without one."""


def usable(ratings: Iterable[Rating]) -> list[Rating]:
    """Ratings with scores and without flags: those that enter means."""
    return [r for r in ratings if r.scores is not None and not r.flags]


def summarise(
    ratings: Sequence[Rating],
    config: JudgeConfig,
    *,
    judge: str,
    mode: str,
    prompt: str,
    stories: int,
    days: Mapping[str, Mapping[str, list[Scores]]],
    checked: Checked,
    notes: Sequence[str] = (),
) -> JudgeSummary:
    """The summary. `days` is `drift.by_day`; `notes` are sentences about the endpoints."""
    good = usable(ratings)
    moved, drift_notes = drift(days)
    reasons = Counter(reason_of(r.unscored) for r in ratings if r.unscored is not None)
    variants = [r for stories in checked.values() for found in stories.values() for r in found]
    asked = {r.key: r for r in [*ratings, *variants]}.values()  # a text that occurs twice was paid for once
    prompts, completions = sum(r.prompt_tokens for r in asked), sum(r.completion_tokens for r in asked)
    return JudgeSummary.model_validate({
        "judge": judge, "mode": mode, "prompt": prompt, "stories": stories, "repeats": config.repeats, "rated": len(good),
        "flagged": sum(bool(r.flags) for r in ratings), "unscored": dict(sorted(reasons.items())),
        "coverage": len(good) / len(ratings) if ratings else None, "means": means_by_source(good), "sd_over_repeats": repeat_sd(good),
        "drift": moved, "drift_notes": drift_notes, "calls": sum(r.attempts for r in asked), "prompt_tokens": prompts,
        "completion_tokens": completions, "cost": cost(config, prompts, completions),
        "fingerprints": tuple(sorted({r.system_fingerprint for r in ratings if r.system_fingerprint})),
        "notes": (*notes, *_notes(ratings, checked)),
    })  # fmt: skip


def reason_of(unscored: str) -> str:
    """The kind of a reason: without its details and numbers."""
    return re.sub(r"\d(?:[\d,.]*\d)?", "…", unscored.split(" (")[0])


def _notes(ratings: Sequence[Rating], checked: Checked) -> list[str]:
    """One sentence per guard and stage. A story that was checked in both stages counts as flagged in the later one."""
    result = []
    for (guard, stage), stories in checked.items():
        flagged = {r.story for r in ratings if guard.flag in r.flags}
        if stage == "before":
            flagged -= checked.get((guard, "after"), {}).keys()
        unanswered = sum(any(r.scores is None for r in found) for i, found in stories.items() if i not in flagged)
        note = f"{len(stories):,} {'story' if len(stories) == 1 else 'stories'} {guard.notes[stage]}: "
        note += f"{len(stories.keys() & flagged)} flagged"
        result.append(note + (f", {unanswered} without an answer and so not checked" if unanswered else ""))
    return result


def means_by_source(ratings: list[Rating]) -> dict[str, dict[Category, float]]:
    """Source → category → mean. A story's repeats are averaged first, so that each story has the same weight."""
    sources: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        sources[rating.source or UNNAMED].append(rating)
    return {
        source: {c: round(fmean(fmean(getattr(s, c) for s in scores) for scores in stories.values()), 4) for c in CATEGORIES}
        for source, found in sorted(sources.items())
        if (stories := scores_by_story(found))
    }


def scores_by_story(ratings: Iterable[Rating]) -> dict[int, list[Scores]]:
    """Story → scores of its repeats, for stories that have some."""
    found: dict[int, list[Scores]] = defaultdict(list)
    for rating in ratings:
        if rating.scores is not None:
            found[rating.story].append(rating.scores)
    return dict(found)


def story_means(ratings: Iterable[Rating]) -> dict[int, NDArray[Any]]:
    """Story → [6]: the mean of its repeats in each category."""
    return {story: np.mean([s.as_list() for s in scores], axis=0) for story, scores in scores_by_story(ratings).items()}


def repeat_sd(ratings: Iterable[Rating]) -> dict[Category, float] | None:
    """`spread` of the ratings' stories, rounded."""
    return spread(scores_by_story(ratings).values())


def spread(stories: Iterable[Sequence[Scores]]) -> dict[Category, float] | None:
    """Root mean square over stories of the sample SD (n - 1) over repeats; None where no story has two ratings."""
    repeated = [scores for scores in stories if len(scores) > 1]
    if not repeated:
        return None
    return {c: round(fmean(variance([getattr(s, c) for s in scores]) for scores in repeated) ** 0.5, 4) for c in CATEGORIES}
