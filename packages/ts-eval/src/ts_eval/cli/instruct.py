"""`ts-eval instruct`: options and output; `ts_eval.instruct` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set, emit, merge, show_progress, table, warn

from ._options import AllowOverlap, FeatureReference, Names

if TYPE_CHECKING:
    from ..schemas import InstructReport
    from ..schemas.report import Estimate


def instruct(
    models: Annotated[list[str], typer.Argument(help="Model folders, Hub ids, or `demo`.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Prompts as `ts-data instruct` writes them.", show_default=False)],
    stories: Annotated[int, typer.Option("--stories", min=1, help="Stories for each measure; a quarter for each feature.")] = 150,
    required: Annotated[
        int, typer.Option("--required", min=0, help="Stories with guaranteed words (`--require`); 0: none.")
    ] = 50,
    reference: FeatureReference = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same stories.")] = 1,
    names: Names = None,
    allow_overlap: AllowOverlap = False,
    out: Annotated[Path | None, typer.Option("--out", help="File for the report (JSON).", show_default=False)] = None,
    config: Config = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do stories use the words and show the features asked for? Beside: guaranteed words, rating, loss, the real stories.

    Example: ts-eval instruct asked-run/model demo --data instruct/ --out asked.json
    """
    from ..asking import instruct as work

    options = merge(config, set_, {})
    with show_progress(quiet=quiet) as progress:
        report = work(
            models, data, stories=stories, required=required, reference=reference, seed=seed, names=names,
            allow_overlap=allow_overlap, out=out, progress=progress, **options,
        )  # fmt: skip
    for note in (*report.notes, *(f"{m.name}: {note}" for m in report.models for note in m.notes)):
        warn(note)
    emit(report, lambda: _text(report, out), as_json=as_json, quiet=quiet and out is not None)


def _text(report: InstructReport, out: Path | None) -> str:
    rows = []
    for group, label in (("held-out", "held-out words"), ("other", "other words"), ("required", "guaranteed")):
        for field, part in (("exact", "as asked"), ("inflected", "any form"), ("every", "all of them")):
            rows.append([f"{label}: {part}", *(_cell(getattr(m.words.get(group), field, None), 100) for m in report.models)])
    for feature in report.models[0].unasked:
        rows.append([f"{feature}: asked", *(_cell(m.shown.get(feature), 100) for m in report.models)])
        rows.append([f"{feature}: not asked", *(_cell(m.unasked.get(feature), 100) for m in report.models)])
    for group, label in (("free", "rating"), ("required", "rating: guaranteed")):
        rows.append([label, *(_cell(m.rating.get(group), 1, 2) for m in report.models)])
    for group, label in (("prompt", "bits per byte: prompt"), ("alone", "bits per byte")):
        rows.append([label, *(_cell(m.bits_per_byte.get(group), 1, 3) for m in report.models)])
    head = ["% of words, of stories", *(m.name for m in report.models)]
    return "\n".join([table(rows, head), *([f"wrote {out}"] if out is not None else [])])


def _cell(value: Estimate | None, factor: float, digits: int = 1) -> str:
    """A mean with its 95 % interval."""
    if value is None or value.mean is None:
        return ""
    low, high = (value.mean if x is None else x for x in (value.low, value.high))
    return f"{factor * value.mean:.{digits}f} [{factor * low:.{digits}f}, {factor * high:.{digits}f}]"
