"""Memorisation, the talk's way: first 40 % of a story as prompt, the model's end against the true end, ends alone."""

from __future__ import annotations

from ..metrics.rouge import rouge
from ..models import ModelAdapter
from ..schemas import Completion
from .base import SPLITS, Context, Section

__all__ = ["run"]


def run(adapter: ModelAdapter, context: Context) -> Section:
    """TF-IDF cosine and ROUGE-1/2/L F1 on stories of train and of test. Real: the end of another story instead."""
    section = Section()
    for split in SPLITS:
        told = context.complete(adapter, split, context.config.prompt_share)
        if told is None:
            section.notes.append("cannot complete stories: memorisation is not measured")
            return section
        columns = {"cosine": context.index.cosine(told.completions, told.references)}
        scores = rouge(told.completions, told.references)
        columns |= {name: [score[name].fmeasure for score in scores] for name in ("rouge1", "rouge2", "rougeL")}
        for name, values in columns.items():
            section.values[f"memorisation.{split}.{name}"] = list(values)
        section.completions += [
            Completion(
                split=split,
                index=told.index[i],
                prompt=told.prompts[i],
                reference=told.references[i],
                completion=told.completions[i],
                scores={name: values[i] for name, values in columns.items()},
            )
            for i in range(len(told.prompts))
        ]
    return section
