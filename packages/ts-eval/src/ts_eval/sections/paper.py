"""The TinyStories paper's procedure (Eldan & Li 2023, section 4): stories cut in half, three ROUGE-2 numbers."""

from __future__ import annotations

from ..metrics.rouge import rouge
from ..models import ModelAdapter
from .base import SPLITS, Context, Section

__all__ = ["run"]


def run(adapter: ModelAdapter, context: Context) -> Section:
    """R2 precision against the true end; largest R2 F1 to another completion; largest R2 precision over all training stories.

    Real: the true ends themselves for the two maxima (the chance baseline), another story's end against the true one.
    """
    section = Section()
    for split in SPLITS:
        told = context.complete(adapter, split, 0.5)
        if told is None:
            section.notes.append("cannot complete stories: the paper's procedure is not run")
            return section
        texts = told.completions
        name = f"paper.{split}"
        section.values[f"{name}.rouge2_precision"] = [s["rouge2"].precision for s in rouge(texts, told.references)]
        section.values[f"{name}.max_other_rouge2"] = _max_other(texts)
        context.notify(f"{adapter.name}: paper, search of train", 0, len(texts))
        if adapter.kind != "real" or split != "train":
            best = context.index.max_rouge2_precision(texts)
            section.values[f"{name}.max_train_rouge2"] = [m.score if m else None for m in best]
        if split == "train":
            own = told.index if adapter.kind != "real" else told.index[1:] + told.index[:1]
            best = context.index.max_rouge2_precision(texts, own=own)
            section.values[f"{name}.max_train_rouge2_other"] = [m.score if m else None for m in best]
        context.notify(f"{adapter.name}: paper, search of train", len(texts), len(texts))
    return section


def _max_other(texts: list[str]) -> list[float | None]:
    """Largest ROUGE-2 F1 of each text to any other of them."""
    n = len(texts)
    if n < 2:
        return [None] * n
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    scores = rouge([texts[i] for i, _ in pairs], [texts[j] for _, j in pairs])
    best = [0.0] * n
    for (i, j), score in zip(pairs, scores, strict=True):
        f = score["rouge2"].fmeasure
        best[i], best[j] = max(best[i], f), max(best[j], f)
    return [b if texts[i] else None for i, b in enumerate(best)]
