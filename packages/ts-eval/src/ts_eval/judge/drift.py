"""Drift: packaged control stories, rated once a day and store, show whether a judge changes. No rating depends on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from ..packaged import packaged_toml
from ..schemas import CATEGORIES, Category, Scores

if TYPE_CHECKING:
    from .store import Answer


def control_stories() -> list[str]:
    """The packaged control stories."""
    return list(packaged_toml(__package__, "anchors.toml")["stories"])


def by_day(answers: Iterable[Answer]) -> dict[str, dict[str, list[Scores]]]:
    """Day → SHA-256 of a control story → its scores."""
    days: dict[str, dict[str, list[Scores]]] = {}
    for answer in answers:
        if answer.scores is not None and answer.row.anchor is not None:
            days.setdefault(answer.row.anchor, {}).setdefault(answer.row.story_sha256, []).append(answer.scores)
    return days


def drift(days: Mapping[str, Mapping[str, list[Scores]]]) -> tuple[dict[Category, float] | None, tuple[str, ...]]:
    """Mean change per category from the first day to the last, and a note for each change beyond noise.

    `days` is `by_day`. Only stories rated on both days count. A change is noted where it exceeds half a point and twice its
    standard error over the stories.
    """
    if len(days) < 2:
        return None, ()
    first, last = min(days), max(days)
    common = sorted(set(days[first]) & set(days[last]))
    if not common:
        return None, ()
    changes: dict[Category, float] = {}
    notes = []
    for name in CATEGORIES:
        before, now = ([fmean(getattr(r, name) for r in days[day][story]) for story in common] for day in (first, last))
        steps = [b - a for a, b in zip(before, now, strict=True)]
        mean = fmean(steps)
        changes[name] = round(mean, 4)
        spread = stdev(steps) / len(steps) ** 0.5 if len(steps) > 1 else 0.0
        if abs(mean) > max(0.5, 2 * spread):
            notes.append(
                f"{name} of the control stories changed by {mean:+.2f} from {first} to {last}: do not compare runs across these days"
            )
    return changes, tuple(notes)
