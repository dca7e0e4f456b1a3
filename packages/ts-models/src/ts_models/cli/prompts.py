"""`ts-models prompts`: the talk's factual, reasoning and context prompts, several models side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..console import Json, Quiet, emit
from ..registry import METHODS
from ._shared import alternatives, enough_beams, hints


def prompts(
    models: Annotated[list[str], typer.Argument(help="Model folders, Hub ids, or `demo`.")],
    method: Annotated[str, typer.Option(help=f"{alternatives(METHODS)}.")] = "greedy",
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Completions per prompt and model.")] = 1,
    temperature: Annotated[float | None, typer.Option(help="For the sampling methods.", show_default="0.7")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same completions.")] = 1,
    table: Annotated[str | None, typer.Option(help="One table only: factual, reasoning or context.", show_default="all")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Complete nine beginnings that test what a model knows, infers and keeps in mind; each up to its first sentence.

    Example: ts-models prompts run-1m/model run-5m/model
    """
    from ..io.loading import load
    from ..prompts import complete_tables, show_tables

    options: dict[str, Any] = {"method": method, "num_return_sequences": n, "seed": seed}
    options |= {} if temperature is None else {"temperature": temperature}
    options |= enough_beams(method, n)
    with hints():
        found = complete_tables([(name, load(name)) for name in models], only=table, **options)
    emit({"models": models, "tables": found}, lambda: show_tables(found), as_json=as_json)
