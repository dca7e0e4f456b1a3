"""Endings of cut stories against the true ones: memorisation as in the talk (40 % given), and the TinyStories paper's procedure (half given)."""

from ..metrics import EndingMetric, Endings, reported
from ..models import ModelAdapter
from ..schemas import Completion
from .base import SPLITS, Context, Generations, Section, computed, each_number, finite

Columns = dict[str, list[float | None]]


def memorisation(adapter: ModelAdapter, context: Context) -> Section:
    """Every `EndingMetric` of memorisation, on stories of train and of test. Real: the ending of another story instead."""
    section = Section()
    for split in SPLITS:
        made = context.complete(adapter, split, context.config.prompt_share)
        if made is None:
            section.notes.append("cannot complete stories: memorisation is not measured")
            return section
        columns = _columns("memorisation", made, context)
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


def paper(adapter: ModelAdapter, context: Context) -> Section:
    """Eldan & Li 2023, section 4: ROUGE-2 precision against the true ending; largest F1 to another completion; largest precision in train.

    Real: the true endings themselves for the two maxima (the chance baseline), another story's ending against the true one.
    """
    section = Section()
    for split in SPLITS:
        made = context.complete(adapter, split, 0.5)
        if made is None:
            section.notes.append("cannot complete stories: the paper's procedure is not run")
            return section
        columns = _columns("paper", made, context) | _search(adapter, context, made)
        section.values |= {f"paper.{split}.{name}": column for name, column in columns.items()}
    return section


def _columns(section: str, made: Generations, context: Context) -> Columns:
    """The values of every `EndingMetric` of a section."""
    endings = Endings(made.completions, made.references, context.index)
    chosen = {name: m.compute for name, m in reported(EndingMetric).items() if m.section == section}
    return {name: each_number(name, computed(name, f, endings), len(made.prompts)) for name, f in chosen.items()}


def _search(adapter: ModelAdapter, context: Context, made: Generations) -> Columns:
    """The largest ROUGE-2 precision over all training stories; on prompts of train also without the prompt's own story."""
    found: Columns = {}
    stage = f"{adapter.name}: paper, search of train"
    context.notify(stage, 0, len(made.completions))
    if adapter.kind != "real" or made.split != "train":
        best = context.index.max_rouge2_precision(made.completions)
        found["max_train_rouge2"] = [m.score if m else None for m in best]
    if made.split == "train":
        own = made.index if adapter.kind != "real" else made.index[1:] + made.index[:1]
        best = context.index.max_rouge2_precision(made.completions, own=own)
        found["max_train_rouge2_other"] = [m.score if m else None for m in best]
    context.notify(stage, len(made.completions), len(made.completions))
    return found
