"""The generated stories by themselves: diversity, repetition, words, lengths, misspellings, beside the real ones."""

import math
from numbers import Real

from ..metrics import StoryMetric, StorySet, reported
from ..models import ModelAdapter
from ..schemas import Estimate
from .base import Context, Section, computed, each_number


def run(adapter: ModelAdapter, context: Context) -> Section:
    """Every `StoryMetric`, on the stories generated from openings of test stories."""
    section = Section()
    made = context.generate_stories(adapter, "test")
    if made is None:
        section.notes.append("cannot generate stories: diversity is not measured")
        return section
    stories = StorySet([text for _, text in made], context.texts["test"], context.index)
    for name, metric in reported(StoryMetric).items():
        if (metric.of_models and adapter.kind == "real") or (metric.of_spelling and adapter.whole_words):
            continue
        key, value = f"texts.test.{name}", computed(name, metric.compute, stories)
        if value is not None and not isinstance(value, Real):
            section.values[key] = each_number(name, value, len(made))
        elif value is None or math.isfinite(value):
            section.estimates[key] = Estimate(mean=None if value is None else float(value), n=len(made))
        else:
            section.estimates[key] = Estimate(mean=None, n=0, unscored=len(made))
            section.notes.append(f"{key} is {value}, no number")
    return section
