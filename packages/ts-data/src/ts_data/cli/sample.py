"""ts-data sample: the embedded default corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Quiet, emit


def sample(
    out: Annotated[Path, typer.Option("--out", help="The text file to write.")],
    stories: Annotated[int, typer.Option(help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed, the same stories.")] = 1,
    impurities: Annotated[bool, typer.Option("--impurities", help="With the defects of the published files.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file with other content.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write generated children's stories for first runs, tests and benchmarks (no substitute for real ones).

    Example: ts-data sample --stories 20000 --seed 1 --out raw.txt
    """
    from ..corpus.sample import write_sample

    size = write_sample(out, stories, seed, impurities, force=force)
    emit(
        {"out": str(out), "stories": stories, "bytes": size},
        f"wrote {stories:,} stories ({size:,} bytes) to {out}",
        as_json=as_json,
        quiet=quiet,
        then=f"ts-data prepare {out} --out splits/",
    )
