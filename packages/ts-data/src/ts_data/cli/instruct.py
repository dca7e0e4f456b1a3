"""ts-data instruct: splits of stories → splits of prompts and stories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Config, Json, Quiet, Set, emit, merge, show_progress, table, validate


def instruct(
    splits: Annotated[Path, typer.Argument(help="A splits/ folder.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    seed: Annotated[int | None, typer.Option(help="Seed of the prompts [1].")] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of word pairs that train never asks for together [0.1].")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace splits of other stories or settings.")] = False,
    config: Config = None,
    settings: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make prompts from stories, as in TinyStories-Instruct: required words, features, sentences, a summary, all found by rules.

    Example: ts-data instruct splits/ --out instruct/
    """
    from ..instruct.build import instruct as run
    from ..schemas import InstructConfig

    settings_ = validate(InstructConfig, merge(config, settings, {"seed": seed, "held_out": held_out}))
    with show_progress(quiet=quiet) as progress:
        manifest = run(splits, out, settings_, force=force, progress=progress)

    def text() -> str:
        made = manifest.instruct
        assert made is not None
        rows = [[name, f"{info.stories:,}", f"{made.held_out[name]:,}"] for name, info in manifest.splits.items()]
        counts = ", ".join(f"{name} {count:,}" for name, count in sorted(made.parts.items()))
        return f"{table(rows, ['split', 'stories', 'held-out words'])}\n\nprompts with: {counts}\nwrote {out}"

    emit(manifest, text, as_json=as_json, quiet=quiet, then=f"ts-tokenizer train {out} --out word_tokenizer.json")
