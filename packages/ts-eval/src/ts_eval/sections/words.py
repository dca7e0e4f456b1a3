"""Sections that print words instead of numbers: the talk's prompt tables, and neighbours in embedding space."""

import re
from typing import Literal

from ..models import ModelAdapter
from ..models.checked import generate
from ..packaged import packaged_toml
from ..schemas import Neighbours, PromptAnswer
from .base import Context, Section


def prompts(adapter: ModelAdapter, context: Context) -> Section:
    """Facts, reasoning, context: greedy completions up to the end of the sentence. Empty for real stories."""
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


def neighbours(adapter: ModelAdapter, context: Context) -> Section:
    """The tokens nearest to a few words by cosine of the input embeddings. Skips words that are not one token of the model."""
    section, words = Section(), context.config.neighbour_words
    found = [(word, adapter.neighbours(word)) for word in words]
    section.neighbours = [Neighbours(token=word, nearest=tuple(nearest)) for word, nearest in found if nearest]
    if adapter.kind != "real" and words and not section.neighbours:
        section.notes.append("has none of the requested words as a single token: neighbours are left out")
    return section


def grade(prompt: str, completion: str) -> Literal["pass", "partial", "fail"] | None:
    """Grade a completion of the talk's prompts by `answers.toml`. `pass`: an accepted answer; `partial`: on the subject, without the answer. None for a prompt without listed answers."""
    accepted = next((a for a in packaged_toml(__package__, "answers.toml")["answers"] if a["prompt"] == prompt), None)
    if accepted is None:
        return None
    text = " ".join(completion.lower().split())
    if re.search(accepted["pass"], text):
        return "pass"
    return "partial" if re.search(accepted["partial"], text) else "fail"
