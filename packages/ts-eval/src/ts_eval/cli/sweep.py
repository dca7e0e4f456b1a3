"""`ts-eval sweep`: the decoding settings of one model, their quality and diversity, and a winner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set, merge, show_progress, table, validate

from ._options import AllowOverlap, Data
from ._show import banner, emit_report

if TYPE_CHECKING:
    from ..schemas import SweepReport


def sweep(
    model: Annotated[str, typer.Argument(help="A model folder, or what `ts-eval report` takes.", show_default=False)],
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", help="Write sweep.json here.", show_default=False)] = None,
    search: Annotated[str | None, typer.Option(help="grid or optuna.", show_default="grid")] = None,
    trials: Annotated[int | None, typer.Option(help="optuna: settings to try.", show_default="20")] = None,
    stories: Annotated[int | None, typer.Option(help="Stories per setting.", show_default="50")] = None,
    allow_overlap: AllowOverlap = False,
    config: Config = None,
    settings: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search decoding settings: method, temperature, top-k, top-p, beams, penalties. Shows the Pareto front and a winner.

    Example: ts-eval sweep run/model --data splits/ --set temperature=[0.5,0.8] --out sweep.json
    """
    from ..schemas import SweepConfig
    from ..sweeping import sweep as run

    chosen = validate(SweepConfig, merge(config, settings, {"search": search, "trials": trials, "stories": stories}))
    with show_progress(quiet=quiet) as progress:
        made = run(model, data, chosen, out=out, allow_overlap=allow_overlap, progress=progress)
    emit_report(made.model_dump(mode="json"), lambda: _text(made), made.warnings, as_json=json)


def _text(made: SweepReport) -> str:
    ranked = sorted(made.points, key=lambda p: -p.quality)
    rows = [
        [
            " ".join(f"{k}={v}" for k, v in p.options.items()),
            f"{p.quality:.3f}",
            f"{p.diversity:.3f}",
            "winner" if p.winner else "front" if p.on_front else "",
        ]
        for p in ranked
    ]
    real = ["real held-out stories", f"{made.real_quality:.3f}", f"{made.real_diversity:.3f}", ""]
    shown = table([*rows, real], ["decoding", f"quality ({made.quality})", "diversity", ""])
    notes = [f"{made.model}: {note}" for note in made.notes]
    return "\n\n".join([*([banner(made.warnings).rstrip()] if made.warnings else []), shown, *notes])
