"""`ts-eval panel`: options and output; `ts_eval.calibration.panel` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_data.console import Json, Quiet, emit, table

if TYPE_CHECKING:
    from ..schemas import PanelReport


def panel(
    files: Annotated[
        list[Path], typer.Argument(help="ratings.jsonl of each judge, or a file of `ts-eval rate`.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Pooled ratings (JSON lines).", show_default=False)] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Agreement of several judges on the same stories, and one pooled rating per story.

    A file of `ts-eval rate` counts as one judge for each rater.

    Example: ts-eval panel gpt.jsonl llama.jsonl features.jsonl --out pooled.jsonl
    """
    from ..calibration import panel as work

    report = work(files, out=out)
    emit(report, lambda: _text(report, out), as_json=as_json, quiet=quiet and out is not None)


def _text(report: PanelReport, out: Path | None) -> str:
    names = list(report.alpha)
    rows = [[judge, *(f"{means[name]:.2f}" for name in names)] for judge, means in report.means.items()]
    alphas = ["Krippendorff's alpha", *("—" if (a := report.alpha[name]).value is None else f"{a.value:.2f}" for name in names)]
    lines = [f"{report.stories:,} stories rated by all {len(report.judges)} judges, {report.left_out:,} left out"]
    lines += [table([*rows, alphas], ["mean", *(name[:11] for name in names)])]
    lines += sorted({f"— refused: {a.refused}" for a in report.alpha.values() if a.refused})
    return "\n".join([*lines, *([f"wrote {out}"] if out is not None else [])])
