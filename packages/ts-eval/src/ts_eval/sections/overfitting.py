"""Overfitting: whole generated stories against all training stories, and the forms that memorisation takes."""

from __future__ import annotations

from collections.abc import Sequence

from ..index import Match, Span
from ..models import ModelAdapter
from ..schemas import Closest, SpanMatch, Story
from .base import SPLITS, Context, Section

__all__ = ["run"]


def run(adapter: ModelAdapter, context: Context) -> Section:
    """Per story: closest training story by cosine, by ROUGE-2 precision, longest exact span, longest span under renaming.

    Real: held-out stories, the chance baseline; stories of train would find themselves, so they are left out.
    """
    section = Section()
    for split in SPLITS:
        if split == "train" and (adapter.kind == "real" or adapter.stories is not None):
            continue
        told = context.generate_stories(adapter, split)
        if told is None:
            section.notes.append("cannot tell stories: overfitting is not measured")
            return section
        stories = _search(context, adapter.name, told)
        _note(section, f"overfitting.{split}", stories)
        if split == "test":
            section.stories += stories
    return section


def _search(context: Context, name: str, told: list[tuple[str, str]]) -> list[Story]:
    index, texts = context.index, [text for _, text in told]
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
            prompt=told[i][0],
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


def _note(section: Section, name: str, stories: list[Story]) -> None:
    columns: dict[str, list[float | None]] = {
        "max_cosine": [s.closest.score if s.closest and s.text else None for s in stories],
        "max_train_rouge2": [s.rouge2.score if s.rouge2 else None for s in stories],
        "span_words": [float(s.span.words) if s.span and s.text else None for s in stories],
        "span_share": [s.span.share if s.span and s.text else None for s in stories],
        "template_words": [float(s.template.words) if s.template and s.text else None for s in stories],
    }
    if any(s.plot for s in stories):
        columns["plot_cosine"] = [s.plot.score if s.plot else None for s in stories]
    section.values |= {f"{name}.{key}": values for key, values in columns.items()}
