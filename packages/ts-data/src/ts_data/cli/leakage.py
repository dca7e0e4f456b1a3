"""ts-data leakage: held-out stories that are also in train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Quiet, Set, emit, merge, show_progress, table, validate


def leakage(
    splits: Annotated[Path, typer.Argument(help="A splits/ folder.")],
    threshold: Annotated[float | None, typer.Option(help="Jaccard similarity that counts as near [0.8].")] = None,
    show: Annotated[int, typer.Option(min=0, help="Pairs to show per split.")] = 3,
    settings: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Report validation and test stories that are also in train, exactly or nearly.

    `prepare` can remove them: ts-data prepare … --set leakage=drop (a given test file), --set deduplicate=near (all).

    Example: ts-data leakage splits/ --threshold 0.5
    """
    from ..dataset import open_manifest, read
    from ..reports.leakage import leakage as run
    from ..schemas import NearConfig

    defaults = open_manifest(splits).config.near.model_dump()
    near = validate(NearConfig, {**defaults, **merge(None, settings, {"threshold": threshold})})
    with show_progress(quiet=quiet) as progress:
        report = run(splits, near, progress=progress)

    def text() -> str:
        rows = [
            [
                name,
                f"{part.stories:,}",
                f"{part.exact:,}",
                f"{part.near:,}",
                f"{(part.exact + part.near) / max(1, part.stories):.2%}",
            ]
            for name, part in report.splits.items()
        ]
        lines = [table(rows, ["split", "stories", "exactly in train", f"nearly (≥ {near.threshold:g})", "share"])]
        train = read(splits, "train")
        for name, part in report.splits.items():
            held = read(splits, name)
            for row, at, similarity in part.examples[:show]:
                lines += [f"\n{name} {row} and train {at}, similarity {similarity:.3f}:", held[row], "---", train[at]]
        return "\n".join(lines)

    emit(report, text, as_json=as_json)
