"""`ts-eval judge`: options and output; `ts_eval.judge.judge_stories` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ts_data.console import Config, Json, Quiet, Set, emit, show_progress, table, warn

from ..judge.guards import GUARDS
from ._options import Backend, BaseUrl, Mode, Model, Prompt, Reference, Store, announcer, end_without_ratings, judge_settings

if TYPE_CHECKING:
    from ..judge import JudgeRun
    from ..schemas import PairSummary, ShareInterval


def judge(
    stories: Annotated[
        Path,
        typer.Argument(
            help="Stories: .jsonl (field story or text, optionally model), what `ts-models generate --json` prints, "
            "or a <|endoftext|> file."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Output file: one rating (JSON) per line.")],
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
    from ..judge.budget import count_calls
    from ..judge.compare import comparison_cost
    from ..schemas import JudgeSummary, PairSummary

    flags = {
        "backend": backend, "model": model, "prompt": prompt, "mode": mode, "repeats": repeats, "budget": budget, "page": page,
        "reference": reference, "guards": guards,
    }  # fmt: skip
    options = judge_settings(config, set_, base_url, flags)
    places: dict[str, Any] = {"out": out, "store": store}
    if dry_run:
        expected = comparison_cost(stories, against, options, **places) if against else estimate_cost(stories, options, **places)
        emit(vars(expected), expected.sentence(), as_json=as_json)
        return
    with show_progress(quiet=quiet) as progress:
        places |= {"progress": progress, "announce": announcer(quiet=quiet)}
        found = (
            judge_stories(stories, options, **places) if against is None else compare_stories(stories, against, options, **places)
        )
    summary: PairSummary | JudgeSummary
    if isinstance(found, PairSummary):
        summary, notes, text = found, found.notes, _pairs_text(found)
        reasons = list(found.unscored) if not found.compared else []
    else:
        summary, notes, text = found.summary, (*found.summary.notes, *found.summary.drift_notes), _text(found)
        reasons = [r.unscored or "" for r in found.ratings]
    for note in notes:
        warn(note)
    money = f", cost {summary.cost:,.2f}" if summary.cost else ""
    tokens = f", {summary.prompt_tokens:,} prompt and {summary.completion_tokens:,} completion tokens"
    spent = f"{count_calls(summary.calls)}{tokens if summary.completion_tokens else ''}{money}"
    emit(summary, f"{text}\n{spent}\nwrote {out}", as_json=as_json, quiet=quiet)
    end_without_ratings(reasons)


def _pairs_text(s: PairSummary) -> str:
    """The outcome in at most eight lines."""
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
    return "\n".join(lines)


def _percent(x: ShareInterval) -> str:
    return f"{x.share:.0%} ({x.low:.0%}–{x.high:.0%})"


def _text(result: JudgeRun) -> str:
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
    return "\n".join([*lines, ""])
