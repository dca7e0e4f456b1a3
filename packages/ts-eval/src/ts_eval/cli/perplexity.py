"""`ts-eval perplexity`: perplexity, loss and bits per byte on the test split, beside n-gram models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set

from .report import AllowOverlap, Data, Models

__all__ = ["perplexity"]


def perplexity(
    models: Models,
    data: Data,
    stories: Annotated[int | None, typer.Option(help="Test stories to score (default all).", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of draws and sampling (default 1).", show_default=False)] = None,
    index: Annotated[Path | None, typer.Option(help="Keep the index of the training stories here.", show_default=False)] = None,
    allow_overlap: AllowOverlap = False,
    config: Config = None,
    settings: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Perplexity, loss and bits per byte of the test split, and what n-gram models reach on the same tokens.

    Example: ts-eval perplexity run/model --data splits/
    """
    from ._part import evaluate_parts

    flags = {"perplexity_stories": stories, "seed": seed}
    evaluate_parts(
        ("perplexity",),
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
