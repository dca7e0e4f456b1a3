"""ts-data prepare: raw stories → splits/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Config, Json, Quiet, Set, emit, merge, show_progress, table, validate

__all__ = ["prepare"]


def prepare(
    source: Annotated[
        list[str], typer.Argument(help="Raw stories: files or URIs (.txt .jsonl .parquet .csv, .gz, .zst), - or hub:OWNER/NAME.")
    ],
    out: Annotated[str, typer.Option("--out", help="The splits/ folder to write; a URI needs --work.")],
    test: Annotated[str | None, typer.Option(help="A file whose stories become the test split, none dropped.")] = None,
    validation: Annotated[int | None, typer.Option(help="Exactly so many validation stories [5 %, up to 73,728].")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw [1].")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes [one per core]. Never changes the result.")] = None,
    engine: Annotated[str, typer.Option(help="Where the work runs: local, or ray (a cluster).")] = "local",
    work: Annotated[Path | None, typer.Option(help="Folder for what is under way [beside --out].")] = None,
    config: Config = None,
    settings: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Clean, de-duplicate and split raw stories. Killed? Run it again: it goes on where it stood.

    Example: ts-data prepare raw.txt --out splits/ --validation 500
    """
    from .._prepare import prepare as run
    from ..schemas import PrepareConfig

    settings_ = validate(PrepareConfig, merge(config, settings, {"validation": validation, "seed": seed}))
    with show_progress(quiet=quiet) as progress:
        manifest = run([*source], out, settings_, test=test, workers=workers, engine=engine, work=work, progress=progress)

    def text() -> str:
        from .._report import prepared

        return prepared(manifest, out, table)

    emit(manifest, text, as_json=as_json)
