"""ts-data show: page through stories, removed ones included, and through what a step changed."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from ..cleaning.rules import RULES
from ..console import Json, Quiet, emit


def show(
    splits: Annotated[Path, typer.Argument(help="A splits/ folder.")],
    split: Annotated[str, typer.Option(help="train, validation, test or removed.")] = "train",
    start: Annotated[int, typer.Option(min=0, help="The first story to show.")] = 0,
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 5,
    reason: Annotated[str | None, typer.Option(help="Of the removed: only those of one reason.")] = None,
    changed: Annotated[
        str | None, typer.Option(help=f"Show what a step changed in the raw source, highlighted: any, {', '.join(RULES)}.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show stories of a split, removed ones with their reason, or stories before and after a step.

    Example: ts-data show splits/ --split removed --reason duplicate
    Example: ts-data show splits/ --changed mojibake
    """
    from ..reports import show_text as text

    if changed is not None:
        found = text.changed(splits, changed, start, n, color=sys.stdout.isatty())
    elif split == "removed" or reason is not None:
        found = text.removed(splits, reason, start, n)
    else:
        found = text.stories(splits, split, start, n)
    shown = list(islice(found, n))
    more = f"\n(continue with --start {start + n})" if len(shown) == n else ""
    page = "\n\n".join(line for _, line in shown) + more if shown else "(no more stories)"
    emit({"start": start, "stories": [item for item, _ in shown]}, page, as_json=as_json)
