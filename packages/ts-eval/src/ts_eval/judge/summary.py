"""What a run of ratings comes to: coverage, means, noise over repeats, drift. Missing ratings are missing, never 0."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

from ..schemas import CATEGORIES, Category, JudgeConfig, JudgeSummary, Rating, Scores
from .budget import cost
from .drift import drift
from .guards.leave_one_out import FLAG

__all__ = ["means_by_source", "repeat_sd", "summarise", "usable"]

UNNAMED = "stories"
"""The source of stories that name none."""


def usable(ratings: list[Rating]) -> list[Rating]:
    """Ratings that may enter a mean: with scores and without flags."""
    return [r for r in ratings if r.scores is not None and not r.flags]


def summarise(
    ratings: list[Rating],
    config: JudgeConfig,
    prompt: str,
    stories: int,
    days: dict[str, dict[str, list[Scores]]],
    probes: Sequence[Rating] = (),
    parts: Mapping[int, Sequence[Rating]] | None = None,
    endpoints: Sequence[str] = (),
) -> JudgeSummary:
    """A run's summary; `days` are the anchor stories' ratings (see `anchors.drift`).

    `probes` are ratings without a suspect passage, `parts` those of stories with an extreme rating without each of their parts;
    `endpoints` are sentences about the servers.
    """
    parts = parts or {}
    good = usable(ratings)
    moved, notes = drift(days)
    reasons = Counter(re.sub(r"[\d,.]+", "…", r.unscored.split(" (")[0]) for r in ratings if r.unscored is not None)
    asked = {r.key: r for r in [*ratings, *probes, *chain(*parts.values())]}.values()  # a story that stands twice was paid once
    prompts, completions = sum(r.prompt_tokens for r in asked), sum(r.completion_tokens for r in asked)
    mode = ratings[0].mode if ratings else config.mode
    return JudgeSummary(
        judge=config.model if config.backend == "openai" else config.backend,
        mode=mode,
        prompt=ratings[0].prompt if ratings else prompt,
        stories=stories,
        repeats=config.repeats,
        rated=len(good),
        flagged=sum(bool(r.flags) for r in ratings),
        unscored=dict(sorted(reasons.items())),
        coverage=len(good) / len(ratings) if ratings else None,
        means=means_by_source(good),
        sd_over_repeats=repeat_sd(good),
        drift=moved,
        drift_notes=notes,
        calls=sum(r.attempts for r in asked),
        prompt_tokens=prompts,
        completion_tokens=completions,
        cost=cost(config, prompts, completions),
        fingerprints=tuple(sorted({r.system_fingerprint for r in ratings if r.system_fingerprint})),
        notes=(*endpoints, *_notes(mode, ratings, probes, parts)),
    )


def _notes(mode: str, ratings: list[Rating], probes: Sequence[Rating], parts: Mapping[int, Sequence[Rating]]) -> tuple[str, ...]:
    decided = {r.story for r in ratings if FLAG in r.flags}
    notes = []
    if probes:
        checked = _checked({p.story: [p] for p in probes}, decided - parts.keys())
        notes.append(f"{_stories(len(probes))} with a suspect passage rated once more without it: {checked}")
    if parts:
        notes.append(
            f"{_stories(len(parts))} rated near an end of the scale, and so again without each part: {_checked(parts, decided)}"
        )
    if mode == "estimated":
        notes.append(
            "estimates of a fitted model of text features, not ratings by a judge; see `ts-eval calibrate --backend features`"
        )
    if ratings and ratings[0].judge == "fake":
        notes.append("the fake judge draws its ratings from a hash of the story: they mean nothing")
    return tuple(notes)


def _checked(rests: Mapping[int, Sequence[Rating]], decided: set[int]) -> str:
    """How many of the stories are flagged, and how many could not be checked."""
    open_ = sum(any(r.scores is None for r in found) for i, found in rests.items() if i not in decided)
    flagged = len(rests.keys() & decided)
    return f"{flagged} flagged" + (f", {open_} without an answer and so not checked" if open_ else "")


def _stories(count: int) -> str:
    return f"{count:,} {'story' if count == 1 else 'stories'}"


def means_by_source(ratings: list[Rating]) -> dict[str, dict[Category, float]]:
    """Source → category → mean; a story's repeats are averaged first, so that each story weighs the same."""
    stories: dict[str, dict[int, list[Scores]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        if rating.scores is not None:
            stories[rating.source or UNNAMED][rating.story].append(rating.scores)
    result: dict[str, dict[Category, float]] = {}
    for source, by_story in sorted(stories.items()):
        means = [{c: sum(getattr(s, c) for s in scores) / len(scores) for c in CATEGORIES} for scores in by_story.values()]
        result[source] = {c: round(sum(m[c] for m in means) / len(means), 4) for c in CATEGORIES}
    return result


def repeat_sd(ratings: list[Rating]) -> dict[Category, float] | None:
    """Root mean square over stories of the sample SD (n - 1) over repeats; None where no story has two ratings."""
    by_story: dict[int, list[Scores]] = defaultdict(list)
    for rating in ratings:
        if rating.scores is not None:
            by_story[rating.story].append(rating.scores)
    repeated = [scores for scores in by_story.values() if len(scores) > 1]
    if not repeated:
        return None
    result: dict[Category, float] = {}
    for name in CATEGORIES:
        variances = []
        for scores in repeated:
            values = [getattr(s, name) for s in scores]
            mean = sum(values) / len(values)
            variances.append(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        result[name] = round((sum(variances) / len(variances)) ** 0.5, 4)
    return result
