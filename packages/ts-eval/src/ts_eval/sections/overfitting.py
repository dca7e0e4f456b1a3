"""Overfitting: searches all training stories for the closest to each generated story."""

from collections.abc import Sequence

from ..index import Match, Span
from ..metrics import SearchMetric, reported
from ..models import ModelAdapter
from ..schemas import Closest, SpanMatch, Story
from .base import SPLITS, Context, Section, computed, each_number


def run(adapter: ModelAdapter, context: Context) -> Section:
    """Per story: closest training story by cosine and by ROUGE-2 precision, longest exact span, longest span under renaming.

    Real: held-out stories are the chance baseline; real stories of train are skipped, because each would find itself.
    """
    section = Section()
    for split in SPLITS:
        if split == "train" and (adapter.kind == "real" or adapter.stories is not None):
            continue
        made = context.generate_stories(adapter, split)
        if made is None:
            section.notes.append("cannot generate stories: overfitting is not measured")
            return section
        stories = _search(context, adapter.name, made)
        for name, metric in reported(SearchMetric).items():
            if name != "plot_cosine" or context.config.embeddings:
                found = [computed(name, metric.compute, story) for story in stories]
                section.values[f"overfitting.{split}.{name}"] = each_number(name, found, len(stories))
        if split == "test":
            section.stories += stories
    return section


def _search(context: Context, name: str, made: list[tuple[str, str]]) -> list[Story]:
    index, texts = context.index, [text for _, text in made]
    stage = f"{name}: search of {len(index):,} stories"
    steps = 5 if context.config.embeddings else 4
    context.notify(stage, 0, steps)
    closest = index.closest(texts, k=1)
    context.notify(stage, 1, steps)
    rouge2 = index.max_rouge2_precision(texts)
    context.notify(stage, 2, steps)
    spans = index.longest_spans(texts)
    context.notify(stage, 3, steps)
    templates = index.longest_spans(texts, template=True)
    context.notify(stage, 4, steps)
    plots: list[Match | None] = [None] * len(texts)
    if context.config.embeddings:
        plots = list(context.plots.closest(texts))
        context.notify(stage, 5, steps)
    return [
        Story(
            prompt=made[i][0],
            text=texts[i],
            closest=_closest(closest[i][0]),
            rouge2=_closest(rouge2[i]),
            span=_span(spans[i], context.train),
            template=_span(templates[i]),
            plot=_closest(plots[i]),
        )
        for i in range(len(texts))
    ]


def _closest(match: Match | None) -> Closest | None:
    return None if match is None else Closest(index=match.index, score=match.score, text=match.text or "")


def _span(span: Span, train: Sequence[str] | None = None) -> SpanMatch:
    return SpanMatch(
        words=span.words,
        share=span.words / span.total if span.total else 0.0,
        text=span.text,
        index=span.index if span.index >= 0 else None,
        story=train[span.index] if train is not None and span.index >= 0 else None,
        count=span.count,
    )
