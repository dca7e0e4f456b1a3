"""The generated stories by themselves: diversity, repetition, words, lengths, misspellings, beside the real ones."""

from __future__ import annotations

from ..metrics.distinct import distinct
from ..metrics.length import length_distance, lengths
from ..metrics.misspellings import misspellings
from ..metrics.repetition import repetition
from ..metrics.self_bleu import self_bleu
from ..metrics.vocabulary import vocabulary
from ..models import Subject
from ..schemas import Estimate
from .base import Context, Section

__all__ = ["run"]

KNOWN = 2
"""Training stories that a word must stand in to count as known: a misspelling may stand in one."""


def run(subject: Subject, context: Context) -> Section:
    """On the stories told from openings of test stories."""
    section = Section()
    told = context.told_stories(subject, "test")
    if told is None:
        section.notes.append("cannot tell stories: diversity is not measured")
        return section
    texts = [text for _, text in told]
    index = context.index
    known = {word for word, df in zip(index.arrays.words, index.arrays.df.tolist(), strict=True) if df >= KNOWN}
    words = lengths(texts)
    wrong = [len(misspellings(text, known)) for text in texts]
    section.values = {
        "texts.test.words": [float(n) for n in words],
        "texts.test.repetition": [repetition(text) for text in texts],
        "texts.test.self_bleu": self_bleu(texts),
        "texts.test.misspellings": [1000 * w / n if n else None for w, n in zip(wrong, words, strict=True)],
    }
    whole = {f"distinct{n}": distinct(texts, n) for n in (1, 2, 3)} | {"vocabulary": vocabulary(texts)}
    if subject.kind != "real":
        whole["length_distance"] = length_distance(texts, context.texts["test"])
    section.estimates = {f"texts.test.{name}": Estimate(mean=value, n=len(texts)) for name, value in whole.items()}
    return section
