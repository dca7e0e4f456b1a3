"""The talk's prompt tables, and what models make of them: each completion is cut after its first sentence."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from .errors import ConfigError
from .language_model import LanguageModel

TABLES: dict[str, tuple[str, ...]] = {
    "factual": (
        "Alice was so tired when she got back home so she went",
        "Jack wanted to read a book, so he went to",
        'It was winter and cold outside so his mother told him, "You should',
    ),
    "reasoning": (
        "Tom has one brother called Peter. His mother has two children: Peter and",
        "Ben went to visit Lily in her house, but she was not at home. Ben knocked on the door,",
        (
            "Alice had both an apple and a carrot in her bag. She took the apple out of the bag and gave it to Jack. "
            "She reached into the bag again and took"
        ),
    ),
    "context": (
        (
            "Alice and Jack walked up the street and met a girl in a red dress. The girl said to them, "
            '"Hi, I\'m Jane. What are your names?"'
        ),
        "Lily likes cats and dogs. She asked her mom for a dog and her mom said no, so instead she asked",
        "Hi Jane, have you seen Alice? I can't find her anywhere, said Jack.",
    ),
}
"""The first three are the TinyStories paper's (Eldan & Li 2023) as well."""


def first_sentence(text: str) -> str:
    """A text up to the end of its first sentence, a closing quote included."""
    found = re.search(r"[.!?]+[\"'”]?(?=\s|$)", text)
    return (text[: found.end()] if found else text).strip()


def complete_tables(
    models: Sequence[tuple[str, LanguageModel]],
    *,
    only: str | None = None,
    method: str = "greedy",
    max_new_tokens: int = 48,
    **options: Any,
) -> list[dict[str, Any]]:
    """Complete the tables with every model; `options` are the fields of GenerationConfig.

    Gives per table its name and rows; per row the prompt, the words that a model's vocabulary lacks, and the completions.
    """
    if only is not None and only not in TABLES:
        raise ConfigError(f"no table {only!r}; there are {', '.join(TABLES)}.")
    chosen = {name: prompts for name, prompts in TABLES.items() if only in (None, name)}
    every = [prompt for prompts in chosen.values() for prompt in prompts]
    written = {}
    for name, lm in models:
        stories = lm.write(every, method=method, max_new_tokens=max_new_tokens, **options)
        each = len(stories) // len(every)
        for number, prompt in enumerate(every):
            group = stories[number * each : (number + 1) * each]
            written[name, prompt] = {
                "completions": [first_sentence(story.text) for story in group],
                "unknown_words": lm.unknown_words(prompt),
            }
    return [
        {"table": title, "rows": [{"prompt": prompt, "models": {name: written[name, prompt] for name, _ in models}} for prompt in prompts]}
        for title, prompts in chosen.items()
    ]  # fmt: skip


def show_tables(tables: Sequence[dict[str, Any]], width: int = 79) -> str:
    """The tables as text: each prompt, and under it what each model wrote, names lined up."""
    lines: list[str] = []
    for part in tables:
        lines += [part["table"].capitalize(), "=" * len(part["table"]), ""]
        for row in part["rows"]:
            lines += textwrap.wrap(row["prompt"] + " …", width)
            margin = max(map(len, row["models"])) + 4
            for name, cell in row["models"].items():
                for text in cell["completions"]:
                    shown = textwrap.wrap(text or "(nothing)", max(width - margin, 30)) or [""]
                    lines += [f"  {name:<{margin - 2}}{shown[0]}", *(" " * margin + more for more in shown[1:])]
                if cell["unknown_words"]:
                    lines.append(" " * margin + f"(not in its vocabulary: {', '.join(cell['unknown_words'])})")
            lines.append("")
    return "\n".join(lines).rstrip()
