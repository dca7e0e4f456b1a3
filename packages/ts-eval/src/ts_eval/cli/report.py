"""`ts-eval report`: the whole evaluation of one model or several, as report.json and report.html."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set, merge, show_progress, validate

from ._options import AllowOverlap, Data, Models, Names, Seed


def report(
    models: Models,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for report.json, report.html, stories.jsonl and the index.")],
    stories: Annotated[int | None, typer.Option(help="Prompts per part and split.", show_default="100")] = None,
    ratings: Annotated[Path | None, typer.Option(help="A judge's ratings.jsonl to show.", show_default=False)] = None,
    sweep: Annotated[Path | None, typer.Option(help="A sweep.json to show.", show_default=False)] = None,
    index: Annotated[Path | None, typer.Option(help="Where the index is kept.", show_default="OUT/index")] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Also compare plots by sentence embeddings.")] = False,
    seed: Seed = None,
    allow_overlap: AllowOverlap = False,
    names: Names = None,
    whole: Annotated[bool, typer.Option("--all", help="Print every metric, not only the verdict.")] = False,
    config: Config = None,
    settings: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure models and write a report with a verdict: language, prompts, copying, diversity, ratings, stories side by side.

    Example: ts-eval report run/model --data splits/ --out report/
    """
    from ..evaluation import evaluate
    from ..schemas import EvalConfig
    from ._show import banner, emit_report, summary, verdict

    flags = {"stories": stories, "seed": seed, "embeddings": embeddings or None}
    chosen = validate(EvalConfig, {"references": ["demo"], **merge(config, settings, flags)})
    with show_progress(quiet=quiet) as progress:
        made = evaluate(
            models, data, chosen, out=out, ratings=ratings, sweep=sweep, index=index, allow_overlap=allow_overlap, names=names,
            command=_command(), progress=progress,
        )  # fmt: skip
    fields = {"warnings", "verdicts", "models", "real", "baselines"}
    payload = {"report": str(out / "report.html"), **made.model_dump(mode="json", include=fields)}
    page = f"wrote {out / 'report.html'}"

    def text() -> str:
        return f"{verdict(made)}\n\n{summary(made)}\n\n{page}" if whole else f"{banner(made.warnings)}{verdict(made)}\n{page}"

    emit_report(payload, text, made.warnings, as_json=json, quiet=quiet, then=f"ts-models play {models[0]}")


def _command() -> str:
    import shlex

    return " ".join(["ts-eval", *map(shlex.quote, sys.argv[1:])])
