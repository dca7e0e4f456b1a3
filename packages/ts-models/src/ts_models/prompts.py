"""The talk's prompt tables, and what models make of them: each completion is cut after its first sentence."""

import re
import textwrap
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .language_model import LanguageModel

TABLES: dict[str, tuple[str, ...]] = {
    name: tuple(prompts)
    for name, prompts in tomllib.loads(Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8")).items()
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
