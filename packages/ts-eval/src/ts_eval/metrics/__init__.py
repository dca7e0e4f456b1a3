"""Metrics: pure functions of texts, ids or log-probabilities, one module each. They know no model and no file.

`METRICS` names them; `load` imports one on use. Each module has an `INFO`: how to read the numbers that it gives. One that needs
nothing but the stories that a model tells has `STORIES`, too: number → function of those stories, which gives a number for each
or one for all. Those stand in every report with nothing more to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..checks import need_texts
from ..schemas import MetricInfo

__all__ = ["METRICS", "all_info", "load", "of_stories"]

METRICS: dict[str, str] = {
    "bits_per_byte": "bits_per_byte:bits_per_byte",
    "cosine": "cosine:cosine",
    "distinct": "distinct:distinct",
    "length": "length:lengths",
    "misspellings": "misspellings:misspellings",
    "ngrams": "ngrams:BigramModel",
    "perplexity": "perplexity:perplexity",
    "repetition": "repetition:repetition",
    "rouge": "rouge:rouge",
    "self_bleu": "self_bleu:self_bleu",
    "vocabulary": "vocabulary:vocabulary",
}


def load(name: str) -> Callable[..., Any]:
    """The function of a metric by name."""
    if name not in METRICS:
        raise KeyError(f"no metric {name!r}; there are {', '.join(METRICS)}")
    module, _, function = METRICS[name].partition(":")
    found: Callable[..., Any] = getattr(import_module(f".{module}", __name__), function)
    return found


def of_stories(texts: Sequence[str]) -> dict[str, list[float | None] | float | None]:
    """Number → its value for each story, or the one for all, over the metrics that need nothing but stories."""
    texts = need_texts(texts, "texts")
    found: dict[str, list[float | None] | float | None] = {}
    for place in METRICS.values():
        functions = getattr(import_module(f".{place.partition(':')[0]}", __name__), "STORIES", {})
        found |= {name: function(texts) for name, function in functions.items()}
    return found


def all_info() -> dict[str, MetricInfo]:
    """Number → how to read it, over all metrics."""
    info: dict[str, MetricInfo] = {}
    for place in METRICS.values():
        info |= import_module(f".{place.partition(':')[0]}", __name__).INFO
    return info
