"""`ts-eval perplexity`, `memorisation`, `overfitting`, `paper`: one section of the report by itself, printed as a table."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set, merge, show_progress, validate

from ._options import AllowOverlap, Data, Models, Names, Seed

Command = Callable[..., None]


def _command(
    part: str, text: str, *, count: str = "stories", count_help: str = "Prompts per split.", counted: str = "100"
) -> Command:
    """The command of one section; `count` is the config field that --stories sets."""

    # No `from __future__ import annotations` here: Typer must see `count_help`.
    def command(
        models: Models,
        data: Data,
        stories: Annotated[int | None, typer.Option(help=count_help, show_default=counted)] = None,
        seed: Seed = None,
        index: Annotated[
            Path | None, typer.Option(help="Keep the index of the training stories here.", show_default=False)
        ] = None,
        allow_overlap: AllowOverlap = False,
        names: Names = None,
        config: Config = None,
        settings: Set = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from ..evaluation import evaluate
        from ..schemas import EvalConfig
        from ._show import emit_report, summary

        chosen = validate(EvalConfig, merge(config, settings, {count: stories, "seed": seed, "parts": [part]}))
        with show_progress(quiet=quiet) as progress:
            made = evaluate(models, data, chosen, index=index, allow_overlap=allow_overlap, names=names, progress=progress)
        payload = made.model_dump(mode="json", include={"warnings", "models", "real", "baselines", "comparisons"})
        emit_report(payload, lambda: summary(made), made.warnings, as_json=json)

    command.__name__ = part
    command.__doc__ = f"{text}\n\nExample: ts-eval {part} run/model --data splits/"
    return command


perplexity = _command(
    "perplexity",
    "Perplexity, loss and bits per byte of the test split, and what n-gram models reach on the same tokens.",
    count="perplexity_stories",
    count_help="Test stories to score.",
    counted="all",
)
memorisation = _command(
    "memorisation",
    "Complete stories from their first 40 % and compare with the true endings: TF-IDF cosine and ROUGE-1/2/L.",
)
overfitting = _command(
    "overfitting",
    "Generate stories and search all training stories for the closest: cosine, ROUGE-2, exact and renamed spans.",
)
paper = _command("paper", "The TinyStories paper's procedure: halves of stories completed, three ROUGE-2 numbers.")
