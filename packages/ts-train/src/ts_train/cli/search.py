"""ts-train search: try settings with Optuna, from one worker or many."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_models.console import Json, Quiet, Set, emit, merge, show_progress, table, validate, warn

from .common import stoppable

if TYPE_CHECKING:
    from ..studies.schemas import SearchReport

__all__ = ["search"]


def search(
    config: Annotated[Path, typer.Option("--config", help="A TOML file: base, space, trials …")],
    data: Annotated[Path, typer.Option("--data", help="The encoded/ folder.")],
    out: Annotated[Path, typer.Option("--out", help="Where runs and report lie; the same for all workers of one disk.")],
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="Any URL that Optuna takes. [default: sqlite:///OUT/study.db]", show_default=False),
    ] = None,
    study: Annotated[str, typer.Option("--study", help="The study's name in the storage.")] = "search",
    trials: Annotated[int | None, typer.Option("--trials", help="Of the whole study, all workers together.")] = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search the settings with the least validation loss. Start it several times to have several workers.

    Example: ts-train search --config recipes/searches/learning-rates.toml --data encoded/ --out search/ --trials 30
    """
    from ts_models.artefact import keep_apart

    from ..studies.schemas import SearchConfig
    from ..studies.search import search as run

    settings = validate(SearchConfig, merge(config, set, {"trials": trials}), str(config))
    # Optuna's heartbeat has been experimental for years; nobody who types this command can do anything about it.
    warnings.filterwarnings("ignore", message=".*(heartbeat_interval|fail_stale_trials|constant_liar).*experimental")
    keep_apart(out, [data, config])
    with stoppable(), show_progress(quiet=quiet) as progress:
        report = run(settings, data, out, storage=storage, study=study, progress=progress, warn=warn)
    emit(report, lambda: f"{_text(report)}\n\n{out / 'results.json'}, {out / 'pareto.png'}", as_json=json)


def _text(report: SearchReport) -> str:
    names = list(report.config.space)
    order = sorted(report.trials, key=lambda t: (t.state != "complete", t.loss is None, t.loss or 0.0))
    rows = [
        [
            t.number, t.state, "—" if t.loss is None else f"{t.loss:.4f}", "—" if t.flops is None else f"{t.flops:.3g}",
            "—" if t.seconds is None else f"{t.seconds:,.1f}", *(_value(t.params.get(name)) for name in names),
        ]
        for t in order
    ]  # fmt: skip
    shares = ", ".join(f"{name} {share:.0%}" for name, share in report.importance.items())
    best = "no trial is complete" if report.best is None else f"best: trial {report.best}"
    listed = table(rows, ["trial", "state", "loss", "FLOPs", "seconds", *names])
    return f"{listed}\n\n{best}" + (f"\nimportance: {shares}" if shares else "")


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
