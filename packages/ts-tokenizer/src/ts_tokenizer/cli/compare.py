"""`ts-tokenizer compare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Json, Quiet, emit, show_progress, table


def compare(
    first: Annotated[Path, typer.Argument(help="A word_tokenizer.json.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    splits: Annotated[Path, typer.Argument(help="What `ts-data prepare` wrote.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    limit: Annotated[int, typer.Option(help="Number of stories to use, from the start.", min=1)] = 10_000,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two tokenizers, and torchtext's basic_english rules, on the same stories.

    Example: ts-tokenizer compare a.json b.json splits/
    """
    from itertools import islice

    import ts_data

    from .. import load
    from ..reports.compare import compare as measure

    stories = list(islice(ts_data.read(splits, split), limit))
    with show_progress(quiet=quiet) as progress:
        found = measure({str(path): load(path) for path in (first, second)}, stories, progress=progress)
    rows = [
        (
            c.name,
            "—" if c.vocab_size is None else f"{c.vocab_size:,}",
            f"{c.tokens_per_story:.1f}",
            "—" if c.unk_share is None else f"{100 * c.unk_share:.2f} %",
            f"{c.distinct:,}",
        )
        for c in found
    ]
    text = table(rows, ["tokenizer", "entries", "tokens/story", "<unk>", "distinct"])
    emit({"stories": len(stories), "tokenizers": [asdict(c) for c in found]}, text, as_json=as_json)
