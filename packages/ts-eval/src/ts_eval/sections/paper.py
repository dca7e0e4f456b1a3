"""The TinyStories paper's procedure (Eldan & Li 2023, section 4): stories cut in half, three ROUGE-2 numbers."""

from __future__ import annotations

from ..metrics import EndingMetric, Endings, reported
from ..models import ModelAdapter
from .base import SPLITS, Context, Generations, Section

__all__ = ["run"]


def run(adapter: ModelAdapter, context: Context) -> Section:
    """ROUGE-2 precision against the true ending; largest F1 to another completion; largest precision over all training stories.

    Real: the true endings themselves for the two maxima (the chance baseline), another story's ending against the true one.
    """
    section = Section()
    metrics = {name: metric for name, metric in reported(EndingMetric).items() if metric.section == "paper"}
    for split in SPLITS:
        made = context.complete(adapter, split, 0.5)
        if made is None:
            section.notes.append("cannot complete stories: the paper's procedure is not run")
            return section
        endings = Endings(made.completions, made.references, context.index)
        columns = {name: list(metric.compute(endings)) for name, metric in metrics.items()}
        columns |= _search(adapter, context, split, made)
        section.values |= {f"paper.{split}.{name}": column for name, column in columns.items()}
    return section


def _search(adapter: ModelAdapter, context: Context, split: str, made: Generations) -> dict[str, list[float | None]]:
    """The largest ROUGE-2 precision over all training stories; on prompts of train also without the prompt's own story."""
    texts, found = made.completions, {}
    stage = f"{adapter.name}: paper, search of train"
    context.notify(stage, 0, len(texts))
    if adapter.kind != "real" or split != "train":
        best = context.index.max_rouge2_precision(texts)
        found["max_train_rouge2"] = [m.score if m else None for m in best]
    if split == "train":
        own = made.index if adapter.kind != "real" else made.index[1:] + made.index[:1]
        best = context.index.max_rouge2_precision(texts, own=own)
        found["max_train_rouge2_other"] = [m.score if m else None for m in best]
    context.notify(stage, len(texts), len(texts))
    return found
