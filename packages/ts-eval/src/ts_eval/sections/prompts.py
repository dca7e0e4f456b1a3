"""The talk's prompt tables: facts, reasoning, context; greedy, cut after the first sentence."""

from __future__ import annotations

from ..grading import grade
from ..models import ModelAdapter
from ..models.checked import generate
from ..schemas import PromptAnswer
from .base import Context, Section

__all__ = ["run"]


def run(adapter: ModelAdapter, context: Context) -> Section:
    """Complete the prompts. Empty for real stories, and for models that cannot generate."""
    from ts_models.prompts import TABLES, first_sentence

    section = Section()
    rows = [(table, prompt) for table, prompts in TABLES.items() for prompt in prompts]
    if adapter.kind == "real":
        return section
    written = generate(adapter, [prompt for _, prompt in rows], method="greedy", max_new_tokens=48)
    if written is None:
        section.notes.append("cannot generate: the prompt tables are left out")
        return section
    context.notify(f"{adapter.name}: prompt tables", len(rows), len(rows))
    section.prompts = [
        PromptAnswer(table=table, prompt=prompt, completion=(said := first_sentence(text)), grade=grade(prompt, said))
        for (table, prompt), text in zip(rows, written, strict=True)
    ]
    return section
