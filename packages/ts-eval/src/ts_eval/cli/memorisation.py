"""`ts-eval memorisation`: completions of stories against their true ends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set

from .report import AllowOverlap, Data, Models

__all__ = ["memorisation"]


def memorisation(
    models: Models,
    data: Data,
    stories: Annotated[int | None, typer.Option(help="Prompts per split (default 100).", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of draws and sampling (default 1).", show_default=False)] = None,
    index: Annotated[Path | None, typer.Option(help="Keep the index of the training stories here.", show_default=False)] = None,
    allow_overlap: AllowOverlap = False,
    config: Config = None,
    settings: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Complete stories from their first 40 % and compare with the true ends: TF-IDF cosine and ROUGE-1/2/L.

    Example: ts-eval memorisation run/model --data splits/
    """
    from ._part import evaluate_parts

    flags = {"stories": stories, "seed": seed}
    evaluate_parts(
        ("memorisation",),
        models,
        data,
        flags,
        config,
        settings,
        index=index,
        allow_overlap=allow_overlap,
        as_json=json,
        quiet=quiet,
    )
