"""Adds a judge's ratings to the report: means per model with intervals, and the correlation of loss and rating over models."""

from collections.abc import Sequence

import numpy as np

from .. import stats
from ..judge.summary import story_means, usable
from ..schemas import CATEGORIES, RATINGS, Correlation, Estimate, EvalConfig, ModelReport, Rating

REAL = "real"
ESTIMATED = (
    "the packaged feature judge, which estimates ratings from the text; `ts-eval judge` rates stories.jsonl by a language model"
)


def with_ratings(
    reports: Sequence[ModelReport], real: ModelReport, ratings: Sequence[Rating], config: EvalConfig
) -> tuple[list[ModelReport], ModelReport]:
    """Add ratings to the reports, or a note to a model without any. Flagged and unscored ratings are in no mean."""
    by_source: dict[str, list[Rating]] = {}
    for rating in ratings:
        by_source.setdefault(rating.source or "", []).append(rating)
    rated = [_rated(report, by_source.get(report.name, []), config) for report in reports]
    return rated, _rated(real, by_source.get(REAL, by_source.get(real.name, [])), config)


def judges(ratings: Sequence[Rating]) -> tuple[str, ...]:
    """One line per judge: name, mode, prompt and coverage."""
    groups: dict[tuple[str, str, str], list[Rating]] = {}
    for rating in ratings:
        groups.setdefault((rating.judge, rating.mode, rating.prompt), []).append(rating)
    return tuple(
        f"{judge}, {mode}, prompt {prompt}: {len(usable(rows)):,} of {len(rows):,} ratings count"
        for (judge, mode, prompt), rows in groups.items()
    )


def _rated(report: ModelReport, ratings: Sequence[Rating], config: EvalConfig) -> ModelReport:
    if not ratings:
        return report.model_copy(update={"notes": (*report.notes, "has no ratings in the ratings file")})
    means = story_means(usable(ratings))
    stories = sorted({rating.story for rating in ratings})
    columns: dict[str, list[float | None]] = {
        c: [float(means[story][k]) if story in means else None for story in stories] for k, c in enumerate(CATEGORIES)
    }
    shown = {story.text for story in report.stories}
    other = len({rating.text for rating in ratings} - shown) if shown else 0
    notes = [f"{other:,} of its rated stories are not in this report: its ratings may be those of other stories"] if other else []
    return report.model_copy(update={"ratings": _estimates(columns, config), "notes": (*report.notes, *notes)})


def estimated(report: ModelReport, config: EvalConfig) -> ModelReport:
    """Add the packaged feature judge's estimates of the generated stories, for a report without a judge's ratings."""
    from ..judge.features.model import packaged

    if not report.stories:
        return report
    judge = packaged(None)
    scores = [judge.estimate(story.text) if story.written else None for story in report.stories]
    columns: dict[str, list[float | None]] = {
        c: [None if s is None else float(getattr(s, c)) for s in scores] for c in CATEGORIES
    }
    return report.model_copy(update={"ratings": _estimates(columns, config)})


def _estimates(columns: dict[str, list[float | None]], config: EvalConfig) -> dict[str, Estimate]:
    """Category → estimate, and `overall`: the mean over the categories."""
    whole = [
        None if None in row else sum(x for x in row if x is not None) / len(row) for row in zip(*columns.values(), strict=True)
    ]
    named = {**columns, "overall": whole}
    return {
        name: stats.estimate(column, seed=config.seed, resamples=config.resamples, bounds=RATINGS)
        for name, column in named.items()
    }


def correlate(reports: Sequence[ModelReport], config: EvalConfig) -> tuple[Correlation, ...]:
    """Spearman's correlation of loss and each rating over the models that have both, resampled by model."""
    points = []
    for report in reports:
        loss = report.held_out_loss
        if loss is not None and loss.mean is not None and report.ratings:
            points.append((loss.mean, report.ratings))
    return tuple(_correlation(category, points, config) for category in CATEGORIES) if points else ()


def _correlation(category: str, points: Sequence[tuple[float, dict[str, Estimate]]], config: EvalConfig) -> Correlation:
    pairs = [(loss, rating[category].mean) for loss, rating in points]
    x, y = [a for a, b in pairs if b is not None], [b for _, b in pairs if b is not None]
    if len(x) < 4:
        note = f"{len(x)} models with loss and rating; a correlation needs at least four"
        return Correlation(rating=category, models=len(x), spearman=None, low=None, high=None, note=note)
    rng = np.random.default_rng(config.seed)
    draws = (rng.integers(0, len(x), len(x)) for _ in range(config.resamples))
    resampled = [stats.spearman([x[i] for i in draw], [y[i] for i in draw]) for draw in draws]
    found = [r for r in resampled if r is not None]
    low, high = (float(q) for q in np.percentile(found, [2.5, 97.5])) if len(set(found)) > 1 else (None, None)
    return Correlation(rating=category, models=len(x), spearman=stats.spearman(x, y), low=low, high=high)
