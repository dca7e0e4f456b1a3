"""The generated stories by themselves: diversity, repetition, words, lengths, misspellings, beside the real ones."""

from __future__ import annotations

import math

from ..metrics import of_stories
from ..metrics.length import length_distance, lengths
from ..metrics.misspellings import misspellings
from ..models import ModelAdapter
from ..schemas import Estimate
from .base import Context, Section

__all__ = ["run"]

KNOWN = 2
"""Training stories that a word must stand in to count as known: a misspelling may stand in one."""


def run(adapter: ModelAdapter, context: Context) -> Section:
    """On the stories told from openings of test stories."""
    section = Section()
    told = context.generate_stories(adapter, "test")
    if told is None:
        section.notes.append("cannot tell stories: diversity is not measured")
        return section
    texts = [text for _, text in told]
    index = context.index
    known = {word for word, df in zip(index.arrays.words, index.arrays.df.tolist(), strict=True) if df >= KNOWN}
    wrong = [len(misspellings(text, known)) for text in texts]
    found = of_stories(texts)
    found["misspellings"] = [1000 * w / n if n else None for w, n in zip(wrong, lengths(texts), strict=True)]
    if adapter.kind != "real":
        found["length_distance"] = length_distance(texts, context.texts["test"])
    for name, value in found.items():
        if isinstance(value, list):
            section.values[f"texts.test.{name}"] = value
        elif value is None or math.isfinite(value):
            section.estimates[f"texts.test.{name}"] = Estimate(mean=value, n=len(texts))
        else:
            section.estimates[f"texts.test.{name}"] = Estimate(mean=None, n=0, unscored=len(texts))
            section.notes.append(f"texts.test.{name} is {value}, no number")
    return section
