"""`ts-eval extraction`: options and output; `ts_eval.extraction` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_data.console import Json, Quiet, emit, show_progress, table, warn

from ._options import Data, Models, Names

if TYPE_CHECKING:
    from ..schemas import ExtractionReport


def extraction(
    models: Models,
    data: Data,
    lengths: Annotated[
        list[int] | None,
        typer.Option("--length", min=1, help="Words of the prompt. May be repeated.", show_default="4, 8, 16, 32"),
    ] = None,
    words: Annotated[int, typer.Option("--words", min=1, help="Words that must follow verbatim.")] = 30,
    stories: Annotated[int, typer.Option("--stories", min=1, help="Largest number of stories in a group.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draw of stories.")] = 1,
    names: Names = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for extraction.json and extraction.html.", show_default=False)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Share of training stories that a model continues verbatim, by prompt length, copies and model size; canaries too.

    Example: ts-eval extraction small/model large/model --data splits/ --out extraction/
    """
    from ..extracting.extraction import LENGTHS
    from ..extracting.extraction import extraction as work

    with show_progress(quiet=quiet) as progress:
        report = work(
            models, data, lengths=lengths or LENGTHS, words=words, stories=stories, seed=seed, names=names, out=out,
            progress=progress,
        )  # fmt: skip
    for note in (*report.notes, *(f"{m.name}: {note}" for m in report.models for note in m.notes)):
        warn(note)
    emit(report, lambda: _text(report, out), as_json=as_json, quiet=quiet and out is not None)


def _text(report: ExtractionReport, out: Path | None) -> str:
    lengths = sorted({p.prompt_words for p in report.models[0].points})
    rows = []
    for model in report.models:
        groups = list(dict.fromkeys((p.group, p.times, p.stories) for p in model.points))
        for group, times, stories in groups:
            shares = {p.prompt_words: p for p in model.points if (p.group, p.times) == (group, times)}
            rows.append([model.name, group, times, stories, *(f"{100 * shares[n].share:.1f}" for n in lengths)])
    head = ["% extracted", "stories", "copies", "n", *(f"{n} words" for n in lengths)]
    return "\n".join([table(rows, head), *([f"wrote {out / 'extraction.html'}"] if out is not None else [])])
