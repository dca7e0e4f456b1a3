"""`ts-tokenizer train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Json, Quiet, emit, show_progress


def train(
    splits: Annotated[Path, typer.Argument(help="What `ts-data prepare` wrote; only its train split is read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("word_tokenizer.json"),
    vocab_size: Annotated[int, typer.Option(help="Entries, including the four special tokens.")] = 2048,
    casing: Annotated[
        str, typer.Option(help="lower (capitals are predicted) or keep (markers where the prediction is wrong).")
    ] = "lower",
    force: Annotated[bool, typer.Option("--force", help="Replace a tokenizer of other splits or settings.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn vocabulary, detokenizer and spelling model from the train split.

    Example: ts-tokenizer train splits/ --out word_tokenizer.json --vocab-size 2048
    """
    from ..train import train_file

    with show_progress(quiet=quiet) as progress:
        tokenizer = train_file(splits, out, vocab_size=vocab_size, casing=casing, force=force, progress=progress)  # type: ignore[arg-type]
    seen = tokenizer.spec.trained_on
    few = f", all of them kept: fewer than the {vocab_size:,} asked for" if tokenizer.vocab_size < vocab_size else ""
    payload = {
        "path": str(out),
        "sha256": tokenizer.sha256,
        "vocab_size": tokenizer.vocab_size,
        "casing": casing,
        **seen.model_dump(),
    }
    emit(
        payload,
        f"{out}: {tokenizer.vocab_size:,} entries from {seen.stories:,} stories "
        f"({seen.tokens:,} tokens, {seen.distinct:,} distinct{few}).",
        as_json=as_json,
        quiet=quiet,
        then=f"ts-tokenizer encode {splits} --tokenizer {out} --out encoded/",
    )
