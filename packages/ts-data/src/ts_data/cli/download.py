"""ts-data download: the published TinyStories files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Quiet, emit, show_progress


def download(
    corpus: Annotated[str, typer.Argument(help="tinystories-v1 or tinystories-v2 (GPT-4 only).")],
    out: Annotated[Path, typer.Option("--out", help="The folder for the raw files.")],
    endpoint: Annotated[str | None, typer.Option(help="Another Hub, for example a mirror.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download raw stories from the Hugging Face Hub (some 2 GB; resumed when interrupted, checked when whole).

    Example: ts-data download tinystories-v2 --out raw/
    """
    from ..sources.download import download as run

    with show_progress(quiet=quiet) as progress:
        train, test = run(corpus, out, endpoint=endpoint, progress=progress)
    follow = f"ts-data prepare {train} --test {test} --out splits/"
    emit({"train": str(train), "test": str(test)}, f"wrote {train} and {test}", as_json=as_json, quiet=quiet, then=follow)
