"""Memorisation as in the talk: the first 40 % of a story as prompt, the model's ending against the true ending, endings alone."""

from __future__ import annotations

from ..metrics import EndingMetric, Endings, reported
from ..models import ModelAdapter
from ..schemas import Completion
from .base import SPLITS, Context, Section, finite

__all__ = ["run"]


def run(adapter: ModelAdapter, context: Context) -> Section:
    """Every `EndingMetric` of memorisation, on stories of train and of test. Real: the ending of another story instead."""
    section = Section()
    metrics = {name: metric for name, metric in reported(EndingMetric).items() if metric.section == "memorisation"}
    for split in SPLITS:
        made = context.complete(adapter, split, context.config.prompt_share)
        if made is None:
            section.notes.append("cannot complete stories: memorisation is not measured")
            return section
        endings = Endings(made.completions, made.references, context.index)
        columns = {name: list(metric.compute(endings)) for name, metric in metrics.items()}
        section.values |= {f"memorisation.{split}.{name}": column for name, column in columns.items()}
        section.completions += [
            Completion(
                split=split,
                index=made.index[i],
                prompt=made.prompts[i],
                reference=made.references[i],
                completion=made.completions[i],
                scores={name: x for name, column in columns.items() if (x := finite(column[i])) is not None},
            )
            for i in range(len(made.prompts))
        ]
    return section
