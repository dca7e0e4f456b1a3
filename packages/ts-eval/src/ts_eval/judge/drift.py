"""Anchor stories: the same few rated beside every run, so that a judge that drifts is seen. It changes no rating."""

from __future__ import annotations

import tomllib
from importlib import resources

from ..schemas import CATEGORIES, Category, Scores

__all__ = ["anchor_stories", "drift"]


def anchor_stories() -> list[str]:
    """The packaged anchor stories."""
    content = tomllib.loads(resources.files(__package__).joinpath("anchors.toml").read_text(encoding="utf-8"))
    return list(content["stories"])


def drift(days: dict[str, dict[str, list[Scores]]]) -> tuple[dict[Category, float] | None, tuple[str, ...]]:
    """Mean change per category from the first day to the last, and a note for each that exceeds the anchors' own noise.

    `days` maps a day to story (by hash) → its ratings of that day. Only stories rated on both days count. A change is
    noted when it exceeds twice its standard error over the anchors and half a point.
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
        steps = [_mean(days[last][s], name) - _mean(days[first][s], name) for s in common]
        mean = sum(steps) / len(steps)
        changes[name] = round(mean, 4)
        spread = (sum((x - mean) ** 2 for x in steps) / max(1, len(steps) - 1) / len(steps)) ** 0.5
        if abs(mean) > max(0.5, 2 * spread):
            notes.append(
                f"{name} of the anchor stories has moved by {mean:+.2f} from {first} to {last}: do not compare runs across these days"
            )
    return changes, tuple(notes)


def _mean(ratings: list[Scores], name: Category) -> float:
    return float(sum(getattr(r, name) for r in ratings)) / len(ratings)
