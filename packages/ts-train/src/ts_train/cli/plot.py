"""ts-train plot: loss curves of one or more runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ts_models.console import Json, Quiet, emit

__all__ = ["plot"]


def plot(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option("--out", help="The picture: .png, .svg or .pdf.")] = Path("loss.png"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw loss against steps, time, tokens and FLOPs.

    Example: ts-train plot run/ other-run/ --out loss.png
    """
    from ..studies.plots import plot as draw

    written = draw(runs, out)
    emit({"plot": str(written), "runs": [str(run) for run in runs]}, str(written), as_json=json)
