"""The metrics of the report, one module each: pure functions of texts or log-probabilities. numbers.toml describes them.

`METRICS` names every module; its table `REPORTED` maps the name of a number to a `Metric`, whose kind (`StoryMetric`, `EndingMetric` …)
decides which section of the report computes it. A new module and its line here put a number into every report, page and table.
"""

from pkgutil import resolve_name
from typing import TypeVar

from ..schemas import MetricInfo
from .base import EndingMetric, Endings, Metric, Ratio, ScoredStories, ScoreMetric, SearchMetric, StoryMetric, StorySet

__all__ = [
    "METRICS",
    "EndingMetric",
    "Endings",
    "Metric",
    "Ratio",
    "ScoreMetric",
    "ScoredStories",
    "SearchMetric",
    "StoryMetric",
    "StorySet",
    "all_info",
    "reported",
]

METRICS: dict[str, str] = {
    "perplexity": "perplexity:REPORTED",
    "cosine": "cosine:REPORTED",
    "rouge": "rouge:REPORTED",
    "closest": "closest:REPORTED",
    "self_bleu": "self_bleu:REPORTED",
    "repetition": "repetition:REPORTED",
    "predictability": "predictability:REPORTED",
    "misspellings": "misspellings:REPORTED",
    "length": "length:REPORTED",
    "distinct": "distinct:REPORTED",
    "vocabulary": "vocabulary:REPORTED",
}
"""Module → its table, in the order of the page."""

Kind = TypeVar("Kind", bound=Metric)


def reported(kind: type[Kind]) -> dict[str, Kind]:
    """Name → metric, over all metrics of one kind (`Metric`: all), in the order of the page."""
    found: dict[str, Kind] = {}
    for place in METRICS.values():
        metrics: dict[str, Metric] = resolve_name(f"{__name__}.{place}")
        found |= {name: metric for name, metric in metrics.items() if isinstance(metric, kind)}
    return found


def all_info() -> dict[str, MetricInfo]:
    """Name → how to read it, over all metrics."""
    return {name: metric.info for name, metric in reported(Metric).items()}
