"""`ts-eval calibrate`: options and output; `ts_eval.calibration.calibrate` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set, emit, show_progress, table, warn

from ._options import Backend, BaseUrl, Mode, Model, Prompt, Reference, Store, announcer, end_without_ratings, judge_settings

if TYPE_CHECKING:
    from ..schemas import CalibrationReport, Statistic


def calibrate(
    references: Annotated[
        list[Path] | None, typer.Argument(help="Stories with ratings (.jsonl) by people or another judge.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Output file (JSON).")] = Path("calibration.json"),
    backend: Backend = None,
    base_url: BaseUrl = None,
    model: Model = None,
    prompt: Prompt = None,
    mode: Mode = None,
    repeats: Annotated[int | None, typer.Option("--repeats", help="Ratings per story; noise needs at least two.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Number of stories to use of each file.")] = None,
    damage: Annotated[bool, typer.Option("--damage/--no-damage", help="Also rate the damaged stories.")] = True,
    variants: Annotated[
        int, typer.Option("--variants", min=0, help="Stories whose variants are rated, to test for faults; five calls each.")
    ] = 100,
    reference: Reference = None,
    store: Store = None,
    config: Config = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare a judge with people or another judge, with itself, and on damaged stories.

    Example: ts-eval calibrate human-rated.jsonl --base-url http://localhost:11434/v1 --model llama3 --repeats 3
    """
    from ..calibration import calibrate as work
    from ..judge.client import GIVEN_UP

    flags = {"backend": backend, "model": model, "prompt": prompt, "mode": mode, "repeats": repeats, "reference": reference}
    options = judge_settings(config, set_, base_url, flags)
    with show_progress(quiet=quiet) as progress:
        report = work(
            references or [], options, out=out, store=store, damage=damage, limit=limit, variants=variants, progress=progress,
            announce=announcer(quiet=quiet),
        )  # fmt: skip
    for note in report.notes:
        warn(note)
    emit(report, lambda: _text(report, out), as_json=as_json, quiet=quiet)
    reason = next((note for note in report.notes if GIVEN_UP in note), "no reply holds ratings")
    end_without_ratings([reason] if report.asked and not report.rated else [])


def _text(report: CalibrationReport, out: Path) -> str:
    lines = [f"{report.rated:,} of {report.asked:,} rated, {report.mode}, judge {report.judge}, prompt {report.prompt}"]
    for reference in report.references:
        lines += [
            "",
            f"{reference.name}: {reference.compared} of {reference.stories} stories compared, {reference.raters} rater{'' if reference.raters == 1 else 's'}",
        ]
        names = list(next(iter(reference.categories.values())))
        rows = [[category, *(_cell(found[name]) for name in names)] for category, found in reference.categories.items()]
        lines += [table(rows, ["", *names])]
        refused = sorted({s.refused for found in reference.categories.values() for s in found.values() if s.refused})
        lines += [f"  — refused: {reason}" for reason in refused]
        lines += [
            f"  {c} recalibrated: mean absolute error {f.mae_before:.2f} → {f.mae_left_out:.2f} on left-out stories"
            for c, f in reference.recalibration.items()
        ]
    lines += ["", f"halo (mean correlation between categories): {_cell(report.halo)}"]
    if report.sd_over_repeats:
        lines += ["SD over repeats: " + ", ".join(f"{name} {value:.2f}" for name, value in report.sd_over_repeats.items())]
    for fall in report.damage:
        verdict = "falls" if fall.falls else "does NOT fall"
        alone = ", most of all" if fall.specific else ""
        lines += [f"damage to {fall.kind}: {fall.category} {verdict}{alone}, change {_cell(fall.change)}"]
    if report.faults:
        lines += ["", "faults:"]
    for fault in report.faults:
        verdict = "cannot be tested" if fault.found is None else "FOUND" if fault.found else "not found"
        lines += [f"  {fault.name}: {verdict}, {fault.measure.refused or _cell(fault.measure)} ({fault.title})"]
    return "\n".join([*lines, f"wrote {out}"])


def _cell(found: Statistic) -> str:
    if found.value is None:
        return "—"
    interval = f" [{found.low:.2f}, {found.high:.2f}]" if found.low is not None and found.high is not None else ""
    return f"{found.value:.2f}{interval}"
