"""Overfitting: searches all training stories for the closest to each generated story."""

from collections.abc import Callable, Sequence
from typing import Any

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
    searches: dict[str, Callable[[], list[Any]]] = {
        "closest": lambda: [_closest(row[0]) for row in index.closest(texts, k=1)],
        "rouge2": lambda: [_closest(match) for match in index.max_rouge2_precision(texts)],
        "span": lambda: [_span(span, context.train) for span in index.longest_spans(texts)],
        "template": lambda: [_span(span) for span in index.longest_spans(texts, template=True)],
    }
    if context.config.embeddings:
        searches["plot"] = lambda: [_closest(match) for match in context.plots.closest(texts)]
    stage, found = f"{name}: search of {len(index):,} stories", []
    for done, search in enumerate(searches.values()):
        context.notify(stage, done, len(searches))
        found.append(search())
    context.notify(stage, len(searches), len(searches))
    rows = zip(made, zip(*found, strict=True), strict=True)
    return [Story(prompt=prompt, text=text, **dict(zip(searches, row, strict=True))) for (prompt, text), row in rows]


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
