"""ts-train prefer: tune a model on pairs of stories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ts_models.console import Config, Json, Quiet, Set, emit, merge, show_progress, validate


def prefer(
    model: Annotated[Path, typer.Argument(help="The model/ folder to start from.")],
    pairs: Annotated[Path, typer.Argument(help="Pairs of stories, as `ts-eval best` writes them.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of the tuned model.")],
    config: Config = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tune a model on pairs of a better and a worse story (DPO); the start stays as it is.

    Example: ts-train prefer run/model pairs.jsonl --out tuned/
    """
    from ..preference.dpo import prefer as work
    from ..schemas import PreferenceConfig

    settings = validate(PreferenceConfig, merge(config, set, {}))
    with show_progress(quiet=quiet) as progress:
        report = work(model, pairs, out, settings, progress=progress)
    shown = (
        f"wrote {out}: {report.steps:,} steps on {report.pairs:,} pairs; of {report.held_out:,} held-out pairs, {100 * report.accuracy:.0f} % prefer the "
        f"better story more than before (loss {report.loss:.3f}, 0.693 before)"
    )
    emit(report, shown, as_json=json, quiet=quiet, then=f'ts-models generate {out} --prompt "Once upon a time"')
