"""Embedding neighbours: the tokens whose input embeddings are nearest to a few words by cosine."""

from __future__ import annotations

from ..models import ModelAdapter
from ..schemas import Neighbours
from .base import Context, Section

__all__ = ["run"]


def run(adapter: ModelAdapter, context: Context) -> Section:
    """Skips words that are not one token of the model."""
    section = Section()
    for word in context.config.neighbour_words:
        nearest = adapter.neighbours(word)
        if nearest:
            section.neighbours.append(Neighbours(token=word, nearest=tuple(nearest)))
    if adapter.kind != "real" and context.config.neighbour_words and not section.neighbours:
        section.notes.append("has none of the requested words as a single token: neighbours are left out")
    return section
