"""`ts-eval judge`: options and output; `ts_eval.judge.judge_stories` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ts_data.console import Config, Json, Quiet, Set, emit, merge, show_progress, table, validate, warn

from ..judge.backends import BACKENDS
from ..judge.guards import GUARDS

if TYPE_CHECKING:
    from ..judge import JudgeRun
    from ..schemas import PairSummary, ShareInterval

Stories = Annotated[Path, typer.Argument(help="Stories: .jsonl (field story or text, optionally model) or a <|endoftext|> file.")]
Out = Annotated[Path, typer.Option("--out", help="Output file: one rating (JSON) per line.")]
Backend = Annotated[str | None, typer.Option("--backend", help=f"One of: {', '.join(BACKENDS)}.")]
BaseUrl = Annotated[list[str] | None, typer.Option("--base-url", help="An OpenAI-compatible server. May be repeated.")]
Model = Annotated[str | None, typer.Option("--model", help="The judge's model name.")]
Prompt = Annotated[str | None, typer.Option("--prompt", help="Name of a packaged prompt, or a TOML file.")]
Mode = Annotated[str | None, typer.Option("--mode", help="sampled, or expected (needs token log-probabilities).")]
Reference = Annotated[str | None, typer.Option("--reference", help="features: splits/ or a file of stories as reference.")]
Store = Annotated[Path | None, typer.Option("--store", help="File of stored replies. Default: judge.sqlite beside --out.")]


def judge(
    stories: Stories,
    out: Out,
    backend: Backend = None,
    base_url: BaseUrl = None,
    model: Model = None,
    prompt: Prompt = None,
    mode: Mode = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Compare with the stories of this file, pair by pair in both orders, instead of rating."),
    ] = None,
    repeats: Annotated[int | None, typer.Option("--repeats", help="Ratings per story.")] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", help="Maximum tokens in all, including earlier runs with the same store.")
    ] = None,
    page: Annotated[str | None, typer.Option("--page", help="selenium: TOML file with address and selectors.")] = None,
    reference: Reference = None,
    guards: Annotated[
        list[str] | None,
        typer.Option("--guard", help=f"Use only this defence, default all: {', '.join(GUARDS)}. May be repeated."),
    ] = None,
    store: Store = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the settings, print the cost, make no call.")] = False,
    config: Config = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rate stories in six categories from 1 to 10.

    Example: ts-eval judge stories.jsonl --base-url http://localhost:11434/v1 --model llama3 --out ratings.jsonl

    Every reply is stored as it arrives; after an interruption the same command resumes without paying twice. API keys come from
    the environment (OPENAI_API_KEY, or the endpoint's api_key_env) and are not stored.
    """
    from ..judge import compare_stories, estimate_cost, judge_stories
    from ..judge.compare import comparison_cost

    flags = {
        "backend": backend, "model": model, "prompt": prompt, "mode": mode, "repeats": repeats, "budget": budget, "page": page,
        "reference": reference, "guards": guards,
    }  # fmt: skip
    options = settings(config, set_, base_url, flags)
    if dry_run:
        places: dict[str, Any] = {"out": out, "store": store}
        expected = comparison_cost(stories, against, options, **places) if against else estimate_cost(stories, options, **places)
        emit(vars(expected), expected.sentence(), as_json=as_json)
        return
    with show_progress(quiet=quiet) as progress:
        announce = None if quiet else lambda expected: typer.echo(expected.sentence(), err=True)
        if against is not None:
            pairs = compare_stories(stories, against, options, out=out, store=store, progress=progress, announce=announce)
        else:
            result = judge_stories(stories, options, out=out, store=store, progress=progress, announce=announce)
    if against is not None:
        for note in pairs.notes:
            warn(note)
        emit(pairs, lambda: _pairs_text(pairs, out), as_json=as_json, quiet=quiet)
        end_without_ratings(list(pairs.unscored) if not pairs.compared else [])
        return
    for note in (*result.summary.notes, *result.summary.drift_notes):
        warn(note)
    emit(result.summary, lambda: _text(result, out), as_json=as_json, quiet=quiet)
    end_without_ratings([r.unscored or "" for r in result.ratings])


def _pairs_text(s: PairSummary, out: Path) -> str:
    """The outcome in at most ten lines."""
    lines = [f"{s.compared:,} of {s.pairs:,} pairs compared in both orders, judge {s.judge}, prompt {s.prompt}"]
    lines += [f"  answers flagged, their pairs not compared: {s.flagged}"] if s.flagged else []
    lines += [f"  unrated: {count} x {reason}" for reason, count in s.unscored.items()]
    if s.win_rate is not None and s.first_shown is not None:
        lines += [
            f"{s.first} wins {_percent(s.win_rate)} against {s.second} ({s.wins:,} wins, {s.ties:,} ties, {s.losses:,} losses)",
            f"  by category: {', '.join(f'{name} {share:.0%}' for name, share in s.categories.items())}",
            f"  position bias: the story shown first is preferred in {_percent(s.first_shown)} (none: 50%);",
            f"  both orders agree in {s.agree:.0%} of the pairs",
        ]
    money = f", cost {s.cost:,.2f}" if s.cost else ""
    return "\n".join(
        [*lines, f"{s.calls:,} calls, {s.prompt_tokens:,} + {s.completion_tokens:,} tokens{money}", f"written: {out}"]
    )


def _percent(x: ShareInterval) -> str:
    return f"{x.share:.0%} ({x.low:.0%}–{x.high:.0%})"


def end_without_ratings(reasons: list[str]) -> None:
    """Exit with 1 and a reason if nothing was rated: `reasons` are those of all stories, empty for a rated one."""
    from ..judge.client import NO_ENDPOINT

    if reasons and all(reasons):
        reason = next((r for r in reasons if r.startswith(NO_ENDPOINT)), reasons[0])
        typer.echo(f"error: nothing was rated: {reason}. Check the judge, then run the same command again.", err=True)
        raise typer.Exit(1)


def settings(config: Path | None, set_: list[str] | None, base_url: list[str] | None, flags: dict[str, Any]) -> Any:
    """A JudgeConfig from a file, `--set` and flags. Each `--base-url` is an endpoint with default limits."""
    from ..schemas import JudgeConfig

    endpoints = [{"base_url": url} for url in base_url] if base_url else None
    return validate(JudgeConfig, merge(config, set_, {**flags, "endpoints": endpoints}), "judge settings")


def _text(result: JudgeRun, out: Path) -> str:
    s = result.summary
    asked = s.stories * s.repeats
    lines = [f"{s.rated:,} of {asked:,} rated ({s.coverage or 0:.1%}), {s.mode}, judge {s.judge}, prompt {s.prompt}"]
    lines += [f"  flagged, in no mean: {s.flagged}"] if s.flagged else []
    first = {r.unscored.split(" (")[0]: r.unscored for r in reversed(result.ratings) if r.unscored}
    lines += [f"  unrated: {count} x {first.get(reason, reason)}" for reason, count in s.unscored.items()]
    if s.means:
        names = list(next(iter(s.means.values())))
        rows = [[source, *(f"{means[name]:.2f}" for name in names)] for source, means in s.means.items()]
        rows += [["SD over repeats", *(f"{s.sd_over_repeats[name]:.2f}" for name in names)]] if s.sd_over_repeats else []
        lines += ["", table(rows, ["", *names])]
    money = f", cost {s.cost:,.2f}" if s.cost else ""
    lines += ["", f"{s.calls:,} calls, {s.prompt_tokens:,} + {s.completion_tokens:,} tokens{money}", f"written: {out}"]
    return "\n".join(lines)
