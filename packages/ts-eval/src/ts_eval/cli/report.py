"""`ts-eval report`: the whole evaluation of one model or several, as report.json and report.html; its sections one by one, as tables."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Config, Set, merge, show_progress, validate

from ._options import AllowOverlap, Data, Models, Names, Seed


def report(
    models: Models,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for report.json, report.html, stories.jsonl and the index.")],
    stories: Annotated[int | None, typer.Option(help="Prompts per part and split.", show_default="100")] = None,
    ratings: Annotated[Path | None, typer.Option(help="A judge's ratings.jsonl to show.")] = None,
    sweep: Annotated[Path | None, typer.Option(help="A sweep.json to show.")] = None,
    index: Annotated[Path | None, typer.Option(help="Where the index is kept.", show_default="OUT/index")] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Also compare plots by sentence embeddings.")] = False,
    seed: Seed = None,
    allow_overlap: AllowOverlap = False,
    names: Names = None,
    whole: Annotated[bool, typer.Option("--all", help="Print every metric, not only the verdict.")] = False,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Measure models and write a report with a verdict: language, prompts, copying, diversity, ratings, stories side by side.

    Example: ts-eval report run/model --data splits/ --out report/
    """
    from ..evaluation import evaluate
    from ..schemas import EvalConfig
    from ._show import banner, emit_report, summary, verdict

    flags = {"stories": stories, "seed": seed, "embeddings": embeddings or None}
    chosen = validate(EvalConfig, {"references": ["demo"], **merge(config, settings, flags)})
    with show_progress() as progress:
        made = evaluate(
            models, data, chosen, out=out, ratings=ratings, sweep=sweep, index=index, allow_overlap=allow_overlap, names=names,
            command=shlex.join(["ts-eval", *sys.argv[1:]]), progress=progress,
        )  # fmt: skip
    fields = {"warnings", "verdicts", "models", "real", "baselines"}
    payload = {"report": str(out / "report.html"), **made.model_dump(mode="json", include=fields)}
    page = f"wrote {out / 'report.html'}"

    def text() -> str:
        return f"{verdict(made)}\n\n{summary(made)}\n\n{page}" if whole else f"{banner(made.warnings)}{verdict(made)}\n{page}"

    emit_report(payload, text, made.warnings, then=f"ts-models play {shlex.quote(models[0])}")


def _section(
    part: str, text: str, *, count: str = "stories", count_help: str = "Prompts per split.", counted: str = "100"
) -> Callable[..., None]:
    """The command of one section; `count` is the config field that --stories sets."""

    # No `from __future__ import annotations` here: Typer must see `count_help`.
    def command(
        models: Models,
        data: Data,
        stories: Annotated[int | None, typer.Option(help=count_help, show_default=counted)] = None,
        seed: Seed = None,
        index: Annotated[Path | None, typer.Option(help="Keep the index of the training stories here.")] = None,
        allow_overlap: AllowOverlap = False,
        names: Names = None,
        config: Config = None,
        settings: Set = None,
    ) -> None:
        from ..evaluation import evaluate
        from ..schemas import EvalConfig
        from ._show import emit_report, summary

        chosen = validate(EvalConfig, merge(config, settings, {count: stories, "seed": seed, "parts": [part]}))
        with show_progress() as progress:
            made = evaluate(models, data, chosen, index=index, allow_overlap=allow_overlap, names=names, progress=progress)
        payload = made.model_dump(mode="json", include={"warnings", "models", "real", "baselines", "comparisons"})
        emit_report(payload, lambda: summary(made), made.warnings, written=False)

    command.__name__ = part
    command.__doc__ = f"{text}\n\nExample: ts-eval {part} run/model --data splits/"
    return command


perplexity = _section(
    "perplexity",
    "Perplexity, loss and bits per byte of the test split, and what n-gram models reach on the same tokens.",
    count="perplexity_stories",
    count_help="Test stories to score.",
    counted="all",
)
memorisation = _section(
    "memorisation", "Complete stories from their first 40 % and compare with the true endings: TF-IDF cosine and ROUGE-1/2/L."
)
overfitting = _section(
    "overfitting", "Generate stories and search all training stories for the closest: cosine, ROUGE-2, exact and renamed spans."
)
paper = _section("paper", "The TinyStories paper's procedure: halves of stories completed, three ROUGE-2 numbers.")
