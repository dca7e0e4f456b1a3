"""ts-train ablate: named variants of one recipe, from several seeds, to a table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_models.console import Json, Quiet, Set, emit, merge, show_progress, table, validate, warn

from .common import stoppable

if TYPE_CHECKING:
    from ..studies.schemas import AblationReport

__all__ = ["ablate"]


def ablate(
    ablation: Annotated[str, typer.Argument(help="A TOML file, or the name of one that comes along: heads, norm, dropout …")],
    data: Annotated[Path, typer.Option("--data", help="The encoded/ folder.")],
    out: Annotated[Path, typer.Option("--out", help="The study's folder; what is finished there is not run again.")],
    seeds: Annotated[int | None, typer.Option("--seeds", help="Use seeds 1 to N instead of the file's.", min=1)] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="Optimizer steps of each run.")] = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every variant from every seed; results.json and plot.png in OUT tell how they compare.

    Example: ts-train ablate recipes/ablations/heads.toml --data encoded/ --out heads/ --set base.max_tokens=1000000
    """
    from ts_models.artefact import keep_apart

    from ..studies.ablation import ablate as run
    from ..studies.ablation import ablation_file
    from ..studies.schemas import AblationConfig

    flags = {"seeds": None if seeds is None else list(range(1, seeds + 1)), "base.max_steps": max_steps}
    config = validate(AblationConfig, merge(ablation_file(ablation), set, flags), ablation)
    keep_apart(out, [data, ablation])
    with stoppable(), show_progress(quiet=quiet) as progress:
        report = run(config, data, out, progress=progress, warn=warn)
    emit(report, lambda: f"{_text(report)}\n\n{out / 'results.json'}, {out / 'plot.png'}", as_json=json)


def _text(report: AblationReport) -> str:
    header = [
        "variant",
        "parameters",
        "runs",
        "loss",
        "95 %",
        "against",
        "difference",
        "95 %",
        "bits/byte",
        "seconds",
        "tokens/s",
    ]
    rows = [
        [
            row.name, f"{row.parameters:,}", f"{row.runs - row.diverged} of {row.runs}", _number(row.loss),
            _interval(row.loss_interval), "—" if row.against == row.name else row.against, _number(row.difference, "+"), _interval(row.difference_interval, "+"),
            _number(row.bits_per_byte), f"{row.seconds:,.1f}", f"{row.tokens_per_second:,.0f}",
        ]
        for row in report.rows
    ]  # fmt: skip
    return f"{report.config.question}\n\n{table(rows, header)}"


def _number(value: float | None, sign: str = "") -> str:
    return "—" if value is None else f"{value:{sign}.4f}"


def _interval(pair: tuple[float, float] | None, sign: str = "") -> str:
    return "—" if pair is None else f"{pair[0]:{sign}.4f} … {pair[1]:{sign}.4f}"
