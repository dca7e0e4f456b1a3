"""`ts-tokenizer coverage`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Json, Quiet, emit, show_progress, table


def coverage(
    splits: Annotated[Path, typer.Argument(help="What `ts-data prepare` wrote.")],
    vocab_size: Annotated[int, typer.Option(help="Entries, including the four special tokens.", min=5)] = 2048,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    top: Annotated[int, typer.Option("--top", "--n", help="Number of hidden tokens to show.", min=0)] = 50,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the share of tokens that vocabularies of each size keep, the rarest word kept, and the words behind <unk>.

    Example: ts-tokenizer coverage splits/ --vocab-size 2048
    """
    import ts_data

    from ..reports.coverage import coverage as measure

    with show_progress(quiet=quiet) as progress:
        found = measure(ts_data.read(splits, split), vocab_size, top=top, progress=progress)
    rows = [
        (f"{size:,}", f"{100 * share:.2f} %", "█" * round(40 * share) + ("  <- this size" if size == vocab_size else ""))
        for size, share in found.curve
    ]
    word, count = found.rarest or ("—", 0)
    hidden = ", ".join(f"{token!r} {n:,}" for token, n in found.hidden)
    text = (
        f"{found.stories:,} stories, {found.tokens:,} tokens, {found.distinct:,} distinct; half of them occur at most "
        f"{found.rare_quantiles[1]:,} times, a quarter at most {found.rare_quantiles[0]:,}.\n\n"
        f"{table(rows, ['entries', 'kept', ''])}\n\n"
        f"{vocab_size:,} entries keep {100 * found.kept:.2f} % of the tokens; the rarest kept is {word!r} ({count:,} times).\n"
        f"<unk> hides: {hidden or 'nothing'}"
    )
    emit(asdict(found), text, as_json=as_json)
