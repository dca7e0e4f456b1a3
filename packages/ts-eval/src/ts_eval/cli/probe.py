"""`ts-eval probe`: options and output; `ts_eval.probe` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_data.console import Json, Quiet, emit, show_progress, table, warn

from ._options import Names

if TYPE_CHECKING:
    from ..schemas import ProbeReport


def probe(
    models: Annotated[list[str], typer.Argument(help="Model folders, or what `ts-eval report` takes.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option("--data", help="splits/: also fit unigrams and trigrams as adversaries.", show_default=False)
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", help="A run folder: also score its checkpoints.", show_default=False)
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=2, max=10_000, help="Pairs for each phenomenon.")] = 200,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A phenomenon or group. May be repeated.", show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the pairs.")] = 1,
    names: Names = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for probe.json and probe.html.", show_default=False)] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Minimal pairs: does a model find the right sentence of two likelier? One accuracy per phenomenon.

    Example: ts-eval probe run/model --data splits/ --out probe/
    """
    from ..probing.probe import probe as work

    with show_progress(quiet=quiet) as progress:
        report = work(
            models, data=data, checkpoints=checkpoints, pairs=pairs, only=only or (), seed=seed, names=names, out=out,
            progress=progress,
        )  # fmt: skip
    for note in report.notes:
        warn(note)
    emit(report, lambda: _text(report, out), as_json=as_json, quiet=quiet and out is not None)


def _text(report: ProbeReport, out: Path | None) -> str:
    adversaries = list(report.phenomena[0].adversaries)
    rows = [["mean", *(f"{100 * m.accuracy:.1f}" for m in report.models), *("" for _ in adversaries)]]
    for p in report.phenomena:
        scores = [m.scores[p.name] for m in report.models]
        cells = [f"{100 * s.accuracy:.0f} [{100 * s.low:.0f}, {100 * s.high:.0f}]" for s in scores]
        rows.append([p.name + (" (local)" if p.local else ""), *cells, *(f"{100 * p.adversaries[a]:.0f}" for a in adversaries)])
    lines = [table(rows, ["% right", *(m.name for m in report.models), *adversaries])]
    ties = {m.name: sum(s.ties for s in m.scores.values()) for m in report.models}
    lines += [
        f"{name}: {count} pairs tie, because the vocabulary does not distinguish them" for name, count in ties.items() if count
    ]
    if report.acquisition:
        steps = [
            [c.step, c.tokens, f"{100 * c.accuracy:.1f}", *(f"{100 * v:.0f}" for v in c.groups.values())]
            for c in report.acquisition
        ]
        lines += ["", table(steps, ["step", "tokens", "mean", *report.acquisition[0].groups])]
    return "\n".join([*lines, *([f"wrote {out / 'probe.html'}"] if out is not None else [])])
