"""`ts-tokenizer check`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Json, Quiet, emit, show_progress, table


def check(
    tokenizer: Annotated[Path, typer.Argument(help="What `ts-tokenizer train` wrote.")],
    splits: Annotated[Path, typer.Argument(help="What `ts-data prepare` wrote.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    limit: Annotated[int, typer.Option(help="Number of stories to use, from the start.", min=1)] = 10_000,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how well decode(encode(story)) restores stories, and show the most frequent errors.

    Example: ts-tokenizer check word_tokenizer.json splits/ --split test
    """
    from itertools import islice

    import ts_data

    from .. import load
    from ..reports.check import check as measure

    with show_progress(quiet=quiet) as progress:
        result = measure(load(tokenizer), islice(ts_data.read(splits, split), limit), progress=progress)
    shares = [
        ("exact, words behind <unk> given", result.exact),
        ("… ignoring case", result.caseless),
        ("… and blanks beside <unk> given", result.caseless_blanks_given),
        (f"exact among the {result.without_unk:,} without <unk>", result.exact_without_unk),
        ("tokens with the right case", result.case_accuracy),
        ("tokens with the right blank", result.space_accuracy),
    ]
    lines = table(
        [(name, "—" if x is None else f"{100 * x:.2f} %") for name, x in shares], [f"{result.stories:,} stories", "share"]
    )
    errors = table([(f"{n:,}", wrote, read) for wrote, read, n in result.errors], ["times", "written", "decoded"])
    emit(asdict(result), f"{lines}\nmarkers per story: {result.markers_per_story:.2f}\n\n{errors}", as_json=as_json)
