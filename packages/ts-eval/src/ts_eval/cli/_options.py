"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ts_data.console import asked, merge, validate

from ..judge.backends import BACKENDS
from ..judge.guards import GUARDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..judge.budget import Estimate
    from ..schemas import JudgeConfig

# --- models and data ---------------------------------------------------------------------------

Models = Annotated[list[str], typer.Argument(help="Model folders, hf:NAME, http://host/v1#MODEL, or files of stories.")]
Names = Annotated[
    list[str] | None, typer.Option("--name", help="Name of a model, one per model in order.", show_default="its folder's")
]
Data = Annotated[Path, typer.Option("--data", help="The splits/ folder that the models are measured on.")]
AllowOverlap = Annotated[
    bool, typer.Option("--allow-overlap", help="Evaluate also on held-out stories that a model was trained on; the report warns.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of draws and sampling.", show_default="1")]
FeatureReference = Annotated[Path | None, typer.Option("--reference", help="splits/ or a file of stories for the feature judge.")]

# --- the judge ---------------------------------------------------------------------------------

Backend = Annotated[str | None, typer.Option("--backend", help=f"One of: {', '.join(BACKENDS)}.")]
BaseUrl = Annotated[list[str] | None, typer.Option("--base-url", help="An OpenAI-compatible server. May be repeated.")]
Model = Annotated[str | None, typer.Option("--model", help="The judge's model name.")]
Prompt = Annotated[str | None, typer.Option("--prompt", help="Name of a packaged prompt, or a TOML file.")]
Mode = Annotated[str | None, typer.Option("--mode", help="sampled, or expected (needs token log-probabilities).")]
Reference = Annotated[str | None, typer.Option("--reference", help="features: splits/ or a file of stories as reference.")]
Guards = Annotated[
    list[str] | None, typer.Option("--guard", help=f"Use only this defence, default all: {', '.join(GUARDS)}. May be repeated.")
]
Store = Annotated[Path | None, typer.Option("--store", help="File of stored replies.", show_default="judge.sqlite beside --out")]


def judge_settings(config: Path | None, set_: list[str] | None, base_url: list[str] | None, flags: dict[str, Any]) -> JudgeConfig:
    """A JudgeConfig from a file, `--set` and flags. Each `--base-url` is an endpoint with default limits."""
    from ..schemas import JudgeConfig

    endpoints = [{"base_url": url} for url in base_url] if base_url else None
    return validate(JudgeConfig, merge(config, set_, {**flags, "endpoints": endpoints}), "judge settings")


def announcer() -> Callable[[Estimate], object] | None:
    """Prints the cost of a run of the judge on stderr, before its first call; None with --quiet."""
    return None if asked.quiet else lambda expected: typer.echo(expected.sentence(), err=True)


NO_REPLY = "no reply holds ratings"
"""Reason of a command that rates several sets of stories."""


def end_without_ratings(reasons: list[str]) -> None:
    """Exit with 1 and a reason if nothing was rated: `reasons` are those of all stories, empty for a rated one."""
    from ..judge.client import NO_ENDPOINT, OVER_BUDGET

    if reasons and all(reasons):
        reason = next((r for r in reasons if r.startswith(NO_ENDPOINT)), reasons[0])
        again = "then run the same command again"
        mend = f"Raise --budget, {again}" if reason.startswith(OVER_BUDGET) else f"Check the judge, {again}"
        if reason.startswith(("the reply ", "the judge gave no answer", NO_REPLY)):  # stored, so the same command asks nobody
            mend = "Check the judge, then ask it again with another --store"
        typer.echo(f"error: nothing was rated: {reason}. {mend}.", err=True)
        raise typer.Exit(1)
