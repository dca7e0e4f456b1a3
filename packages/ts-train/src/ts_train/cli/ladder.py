"""ts-train ladder: a scaling law from small runs, and what it predicts of larger presets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_models.console import Json, Quiet, Set, emit, merge, show_progress, table, validate, warn

from .common import stoppable

if TYPE_CHECKING:
    from ..studies.schemas import LadderReport

__all__ = ["ladder"]


def ladder(
    config: Annotated[Path, typer.Option("--config", help="A TOML file: base, sizes, tokens, predict.")],
    data: Annotated[Path, typer.Option("--data", help="The encoded/ folder.")],
    out: Annotated[Path, typer.Option("--out", help="The study's folder; what is finished there is not run again.")],
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train sizes × budgets, fit loss = E + A/N^alpha + B/D^beta, predict larger presets with an interval.

    Example: ts-train ladder --config recipes/ladders/story.toml --data encoded/ --out ladder/
    """
    from ts_models.artefact import keep_apart

    from ..studies.ladder import ladder as run
    from ..studies.schemas import LadderConfig

    settings = validate(LadderConfig, merge(config, set, {}), str(config))
    keep_apart(out, [data, config])
    with stoppable(), show_progress(quiet=quiet) as progress:
        report = run(settings, data, out, progress=progress, warn=warn)
    emit(report, lambda: f"{_text(report)}\n\n{out / 'results.json'}, {out / 'plot.png'}", as_json=json)


def _text(report: LadderReport) -> str:
    cells = [
        [c.name, f"{c.parameters:,}", f"{c.tokens:,}", "diverged" if c.loss is None else f"{c.loss:.4f}", f"{c.seconds:,.1f}"]
        for c in report.cells
    ]
    measured = table(cells, ["run", "parameters", "tokens", "loss", "seconds"])
    if report.fit is None:
        return f"{measured}\n\nno fit: {report.refusal}"
    f = report.fit
    law = (
        f"loss = {f.e:.4g} + {f.a:.4g} / N^{f.alpha:.4g} + {f.b:.4g} / D^{f.beta:.4g}  ({f.points} runs, residual {f.residual:.2%})\n"
        f"95 %: E {f.e_interval[0]:.4g} … {f.e_interval[1]:.4g}, alpha {f.alpha_interval[0]:.3g} … {f.alpha_interval[1]:.3g}, "
        f"beta {f.beta_interval[0]:.3g} … {f.beta_interval[1]:.3g}"
    )
    rows = [
        [p.preset, f"{p.parameters:,}", f"{p.tokens:,}", f"{p.loss:.4f}", f"{p.interval[0]:.4f} … {p.interval[1]:.4f}", f"{p.beyond:,.1f}"]
        for p in report.predictions
    ]  # fmt: skip
    header = ["predicted", "parameters", "tokens", "loss", "95 %", "FLOPs over the ladder's most"]
    note = "The interval is that of the fit. Whether the law holds beyond the ladder it cannot know."
    return f"{measured}\n\n{law}" + (f"\n\n{table(rows, header)}\n{note}" if rows else "")
