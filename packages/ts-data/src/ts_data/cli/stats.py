"""ts-data stats: what a splits/ folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Quiet, emit, table


def stats(
    splits: Annotated[Path, typer.Argument(help="A splits/ folder.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Stories, words, characters and lengths per split, with a histogram.

    Example: ts-data stats splits/
    """
    from ..dataset import check_files

    manifest = check_files(splits)

    def text() -> str:
        from ..reports.summary import described

        return described(manifest, table)

    emit(
        {name: info.model_dump(mode="json") for name, info in manifest.splits.items()},
        text,
        as_json=as_json,
        then=None if quiet else f"ts-tokenizer train {splits} --out word_tokenizer.json",
    )
