"""`ts-tokenizer encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Json, Quiet, emit, show_progress, table, warn


def encode(
    splits: Annotated[Path, typer.Argument(help="What `ts-data prepare` wrote.")],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", "-t", help="What `ts-tokenizer train` wrote.")] = Path(
        "word_tokenizer.json"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")] = Path("encoded"),
    workers: Annotated[int | None, typer.Option(help="Threads; all cores by default.", min=1, show_default=False)] = None,
    engine: Annotated[str, typer.Option(help="Engine: local, or ray (a cluster).")] = "local",
    force: Annotated[bool, typer.Option("--force", help="Replace ids of other splits or of another tokenizer.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the splits as token ids: train.bin, val.bin, test.bin (uint16), offsets, manifest.json.

    Run the same command again to resume after an interruption.

    Example: ts-tokenizer encode splits/ -t word_tokenizer.json -o encoded/
    """
    from .. import encode_splits, load

    loaded = load(tokenizer)
    with show_progress(quiet=quiet) as progress:
        manifest = encode_splits(splits, loaded, out, workers=workers, engine=engine, force=force, progress=progress)
    if loaded.spec.trained_on.splits_fingerprint not in (None, manifest.splits_fingerprint):
        warn(
            f"{tokenizer}: was trained on other splits; its vocabulary may contain words that occur only in the held-out stories of {splits}."
        )
    rows = [
        (name, f"{s.stories:,}", f"{s.tokens:,}", f"{100 * s.unk_tokens / max(1, s.tokens):.2f} %", f"{s.bin.bytes / 1e6:,.1f}")
        for name, s in manifest.splits.items()
    ]
    text = table(rows, ["split", "stories", "tokens", "<unk>", "MB"]) + f"\nwrote {out}/"
    emit(manifest, text, as_json=as_json, quiet=quiet, then=f"ts-train run --data {out} --out run/ --max-minutes 5")
