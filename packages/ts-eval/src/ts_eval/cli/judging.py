"""Commands of the judge: rate stories and compare them, keep the best, calibrate the judge, choose its prompt, pool judges, rate by hand."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ts_data.console import Config, Set, asked, emit, merge, show_progress, table, warn

from . import _options as opt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .. import schemas
    from ..judge import JudgeRun


def judge(
    stories: Annotated[
        Path,
        typer.Argument(
            help="Stories: .jsonl (field story or text, optionally model), what `ts-models generate --json` prints, "
            "or a <|endoftext|> file."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output file: one rating (JSON) per line.")],
    backend: opt.Backend = None,
    base_url: opt.BaseUrl = None,
    model: opt.Model = None,
    prompt: opt.Prompt = None,
    mode: opt.Mode = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with the stories of this file, pair by pair in both orders, instead of rating.")
    ] = None,
    repeats: Annotated[int | None, typer.Option(help="Ratings per story.")] = None,
    budget: Annotated[int | None, typer.Option(help="Maximum tokens in all, including earlier runs with the same store.")] = None,
    page: Annotated[str | None, typer.Option(help="selenium: TOML file with address and selectors.")] = None,
    reference: opt.Reference = None,
    guards: opt.Guards = None,
    store: opt.Store = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the settings, print the cost, make no call.")] = False,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Rate stories in six categories from 1 to 10.

    Example: ts-eval judge stories.jsonl --base-url http://localhost:11434/v1 --model llama3 --out ratings.jsonl

    Every reply is stored as it arrives; after an interruption the same command resumes without paying twice. API keys come from
    the environment (OPENAI_API_KEY, or the endpoint's api_key_env) and are not stored.
    """
    from ..judge import compare_stories, estimate_cost, judge_stories
    from ..judge.budget import count_calls, money
    from ..judge.compare import comparison_cost
    from ..schemas import JudgeSummary, PairSummary

    flags = {
        "backend": backend, "model": model, "prompt": prompt, "mode": mode, "repeats": repeats, "budget": budget, "page": page,
        "reference": reference, "guards": guards,
    }  # fmt: skip
    options = opt.judge_settings(config, set_, base_url, flags)
    places: dict[str, Any] = {"out": out, "store": store}
    if dry_run:
        expected = comparison_cost(stories, against, options, **places) if against else estimate_cost(stories, options, **places)
        emit(vars(expected), expected.sentence())
        return
    with show_progress() as progress:
        places |= {"progress": progress, "announce": opt.announcer()}
        found = (
            judge_stories(stories, options, **places) if against is None else compare_stories(stories, against, options, **places)
        )
    summary: PairSummary | JudgeSummary
    if isinstance(found, PairSummary):
        summary, notes, text = found, found.notes, _pairs_text(found)
        reasons = list(found.unscored) if not found.compared else []
    else:
        summary, notes, text = found.summary, (*found.summary.notes, *found.summary.drift_notes), _ratings_text(found)
        reasons = [r.unscored or "" for r in found.ratings]
    for note in notes:
        warn(note)
    price = f", cost {money(summary.cost)}" if summary.cost else ""
    tokens = f", {summary.prompt_tokens:,} prompt and {summary.completion_tokens:,} completion tokens"
    spent = f"{count_calls(summary.calls)}{tokens if summary.completion_tokens else ''}{price}"
    following = (
        f"ts-eval report MODEL --data splits/ --out report/ --ratings {quote(str(out))}"
        if against is None
        else f"ts-eval rate {quote(str(stories))}"
    )
    emit(summary, f"{text}\n{spent}\nwrote {out}", then=following)
    opt.end_without_ratings(reasons)


def _pairs_text(s: schemas.PairSummary) -> str:
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


def _percent(x: schemas.ShareInterval) -> str:
    return f"{x.share:.0%} ({x.low:.0%}–{x.high:.0%})"


def _ratings_text(result: JudgeRun) -> str:
    from ..judge.summary import reason_of

    s = result.summary
    asked = s.stories * s.repeats
    lines = [f"{s.rated:,} of {asked:,} rated ({s.coverage or 0:.1%}), {s.mode}, judge {s.judge}, prompt {s.prompt}"]
    lines += [f"  flagged, in no mean: {s.flagged}"] if s.flagged else []
    first = {reason_of(r.unscored): r.unscored for r in reversed(result.ratings) if r.unscored}
    lines += [f"  unrated: {count} x {first.get(reason, reason)}" for reason, count in s.unscored.items()]
    if s.means:
        names = list(next(iter(s.means.values())))
        rows = [[source, *(f"{means[name]:.2f}" for name in names)] for source, means in s.means.items()]
        rows += [["SD over repeats", *(f"{s.sd_over_repeats[name]:.2f}" for name in names)]] if s.sd_over_repeats else []
        lines += ["", table(rows, ["", *names])]
    return "\n".join([*lines, ""])


def best(
    model: Annotated[str, typer.Argument(help="A model folder, a Hub id, or `demo`.")],
    out: Annotated[Path, typer.Option(help="The best and the worst stories (JSON lines).")],
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", help="How a story begins. May be repeated.", show_default="the model begins"),
    ] = None,
    stories: Annotated[int, typer.Option(min=1, help="Stories to keep for each prompt.")] = 100,
    n: Annotated[int, typer.Option("--n", "-n", min=2, help="Stories to choose each from.")] = 8,
    by: Annotated[
        Literal["features", "likelihood"], typer.Option(help="The feature judge, or the model's own likelihood.")
    ] = "features",
    reference: opt.FeatureReference = None,
    seed: Annotated[int, typer.Option(help="Same seed, same stories.")] = 1,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Write n stories for one, keep the best; the worst is kept beside it, for `ts-train prefer`.

    Example: ts-eval best demo --prompt "Once upon a time" --stories 20 --n 8 --out best.jsonl
    """
    from ts_data.artefact import check_file, keep_apart, lock

    from ..judge.best import best_of, write_ranked

    keep_apart(out, [place for place in (Path(model), reference) if place is not None and place.exists()])
    check_file(out, "an earlier file of `ts-eval best`", lambda start: b'"rejected_score"' in start)
    options = merge(config, set_, {})
    with lock(out), show_progress() as progress:
        rows = best_of(
            model, [text for text in prompt or [""] for _ in range(stories)], n,
            by=by, reference=reference, seed=seed, progress=progress, **options,
        )  # fmt: skip
        write_ranked(out, rows)
    means = {
        name: sum(getattr(row, field) for row in rows) / len(rows)
        for name, field in (("best", "score"), ("mean", "mean_score"), ("worst", "rejected_score"))
    }
    shown = (
        f"wrote {out}: {len(rows):,} stories, best of {n} by {by}; "
        f"best {means['best']:.3f}, mean {means['mean']:.3f}, worst {means['worst']:.3f}"
    )
    following = f"ts-train prefer {quote(model)} {quote(str(out))} --out tuned/"
    emit({"stories": len(rows), **means, "out": str(out)}, shown, then=following)


def calibrate(
    references: Annotated[
        list[Path] | None, typer.Argument(help="Stories with ratings (.jsonl) by people or another judge.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Output file (JSON).")] = Path("calibration.json"),
    backend: opt.Backend = None,
    base_url: opt.BaseUrl = None,
    model: opt.Model = None,
    prompt: opt.Prompt = None,
    mode: opt.Mode = None,
    repeats: Annotated[int | None, typer.Option(help="Ratings per story; noise needs at least two.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of stories to use of each file.")] = None,
    damage: Annotated[bool, typer.Option("--damage/--no-damage", help="Also rate the damaged stories.")] = True,
    variants: Annotated[
        int, typer.Option(min=0, help="Stories whose variants are rated, to test for faults; five calls each.")
    ] = 100,
    reference: opt.Reference = None,
    store: opt.Store = None,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Compare a judge with people or another judge, with itself, and on damaged stories.

    Example: ts-eval calibrate human-ratings.jsonl --base-url http://localhost:11434/v1 --model llama3 --repeats 3
    """
    from ..calibration import calibrate as work
    from ..judge.client import GIVEN_UP

    flags = {"backend": backend, "model": model, "prompt": prompt, "mode": mode, "repeats": repeats, "reference": reference}
    options = opt.judge_settings(config, set_, base_url, flags)
    with show_progress() as progress:
        report = work(
            references or [], options, out=out, store=store, damage=damage, limit=limit, variants=variants, progress=progress,
            announce=opt.announcer(),
        )  # fmt: skip
    for note in report.notes:
        warn(note)
    following = "ts-eval judge stories.jsonl --out ratings.jsonl, with the same options for the judge"
    emit(report, lambda: _calibration_text(report, out), then=following)
    reason = next((note for note in report.notes if GIVEN_UP in note), opt.NO_REPLY)
    opt.end_without_ratings([reason] if report.asked and not report.rated else [])


def _calibration_text(report: schemas.CalibrationReport, out: Path) -> str:
    lines = [f"{report.rated:,} of {report.asked:,} rated, {report.mode}, judge {report.judge}, prompt {report.prompt}"]
    for reference in report.references:
        lines += [
            "",
            f"{reference.name}: {reference.compared} of {reference.stories} stories compared, {reference.raters} rater{'' if reference.raters == 1 else 's'}",
        ]
        names = list(next(iter(reference.categories.values())))
        rows = [[category, *(_statistic(found[name]) for name in names)] for category, found in reference.categories.items()]
        lines += [table(rows, ["", *names])]
        refused = sorted({s.refused for found in reference.categories.values() for s in found.values() if s.refused})
        lines += [f"  — refused: {reason}" for reason in refused]
        lines += [
            f"  {c} recalibrated: mean absolute error {f.mae_before:.2f} → {f.mae_left_out:.2f} on left-out stories"
            for c, f in reference.recalibration.items()
        ]
    lines += ["", f"halo (mean correlation between categories): {_statistic(report.halo)}"]
    if report.sd_over_repeats:
        lines += ["SD over repeats: " + ", ".join(f"{name} {value:.2f}" for name, value in report.sd_over_repeats.items())]
    for fall in report.damage:
        verdict = "falls" if fall.falls else "does NOT fall"
        alone = ", most of all" if fall.specific else ""
        lines += [f"damage to {fall.kind}: {fall.category} {verdict}{alone}, change {_statistic(fall.change)}"]
    if report.faults:
        lines += ["", "faults:"]
    for fault in report.faults:
        verdict = "cannot be tested" if fault.found is None else "FOUND" if fault.found else "not found"
        lines += [f"  {fault.name}: {verdict}, {fault.measure.refused or _statistic(fault.measure)} ({fault.title})"]
    return "\n".join([*lines, f"wrote {out}"])


def _statistic(found: schemas.Statistic) -> str:
    if found.value is None:
        return "—"
    interval = f" [{found.low:.2f}, {found.high:.2f}]" if found.low is not None and found.high is not None else ""
    return f"{found.value:.2f}{interval}"


def optimise_prompt(
    rated: Annotated[Path, typer.Argument(help="Stories with ratings (.jsonl) to agree with.")],
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", help="A candidate; the first is the prompt in use. May be repeated.")
    ] = None,
    orders: Annotated[int, typer.Option(min=1, help="Orders of examples and categories to try for each prompt.")] = 3,
    repeats: Annotated[int, typer.Option(min=2, help="Ratings per story.")] = 3,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of stories to use.")] = None,
    out: Annotated[Path, typer.Option(help="Report (JSON); the chosen prompt is written beside it.")] = Path(
        "prompt-search.json"
    ),
    backend: opt.Backend = None,
    base_url: opt.BaseUrl = None,
    model: opt.Model = None,
    store: opt.Store = None,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Choose the judge's prompt by agreement, noise and parse rate on one half of the stories; report on the other half.

    Example: ts-eval optimise-prompt human-ratings.jsonl --config judge.toml --prompt default --prompt mine.toml
    """
    from ..calibration import optimise_prompt as work

    first, others = (prompts[0], prompts[1:]) if prompts else (None, [])
    flags = {"backend": backend, "model": model, "prompt": first, "repeats": repeats}
    options = opt.judge_settings(config, set_, base_url, flags)
    with show_progress() as progress:
        report = work(
            rated, options, prompts=others, orders=orders, out=out, store=store, limit=limit, progress=progress,
            announce=opt.announcer(),
        )  # fmt: skip
    following = f"ts-eval judge stories.jsonl --prompt {quote(str(out.with_suffix('.prompt.json')))} --out ratings.jsonl"
    emit(report, lambda: _prompts_text(report, out), then=following)


def _prompts_text(report: schemas.PromptSearchReport, out: Path) -> str:
    def rows(trials: Sequence[schemas.PromptTrial]) -> str:
        cells = [[t.prompt, *map(_two_digits, (t.score, t.mae, t.noise)), f"{t.parse_rate:.1%}", t.rated] for t in trials]
        return table(cells, ["prompt", "score", "MAE", "noise", "parse rate", "rated"])

    lines = [f"on the {report.tuning_stories} stories of the choice:", rows(report.tuning), ""]
    lines += [f"on the other {report.reporting_stories} stories (figures to report):", rows(report.reporting), ""]
    return "\n".join([*lines, f"chosen: {report.chosen}", f"wrote {out}, {out.with_suffix('.prompt.json')}"])


def _two_digits(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def panel(
    files: Annotated[list[Path], typer.Argument(help="ratings.jsonl of each judge, or a file of `ts-eval rate`.")],
    out: Annotated[Path | None, typer.Option(help="Pooled ratings (JSON lines).")] = None,
) -> None:
    """Agreement of several judges on the same stories, and one pooled rating per story.

    A file of `ts-eval rate` counts as one judge for each rater.

    Example: ts-eval panel gpt.jsonl llama.jsonl features.jsonl --out pooled.jsonl
    """
    from ..calibration import panel as work

    report = work(files, out=out)
    following = None if out is None else f"ts-eval report MODEL --data splits/ --out report/ --ratings {quote(str(out))}"
    emit(report, lambda: _panel_text(report, out), written=out is not None, then=following)


def _panel_text(report: schemas.PanelReport, out: Path | None) -> str:
    names = list(report.alpha)
    rows = [[judge, *(f"{means[name]:.2f}" for name in names)] for judge, means in report.means.items()]
    alphas = ["Krippendorff's alpha", *("—" if (a := report.alpha[name]).value is None else f"{a.value:.2f}" for name in names)]
    lines = [f"{report.stories:,} stories rated by all {len(report.judges)} judges, {report.left_out:,} left out"]
    lines += [table([*rows, alphas], ["mean", *(name[:11] for name in names)])]
    lines += sorted({f"— refused: {a.refused}" for a in report.alpha.values() if a.refused})
    return "\n".join([*lines, *([f"wrote {out}"] if out is not None else [])])


def rate(
    stories: Annotated[Path, typer.Argument(help="Stories to rate (.jsonl or a <|endoftext|> file).")],
    out: Annotated[Path, typer.Option(help="File that ratings are appended to; several raters may share it.")] = Path(
        "human-ratings.jsonl"
    ),
    rater: Annotated[str, typer.Option(help="Name of the rater; decides the order of the stories.")] = "me",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of stories to rate, from the start of the file.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order.")] = 1,
) -> None:
    """Rate stories yourself on a local page that hides their authors. Resumes where you stopped.

    Example: ts-eval rate stories.jsonl --rater ada --out human-ratings.jsonl
    """
    from ts_data.artefact import keep_apart

    from ..judge import RatingServer, RatingSession, read_stories

    keep_apart(out, [stories])
    _check_writable(out)
    server = RatingServer(RatingSession(read_stories(stories)[:limit], out, rater=rater, seed=seed), port=port)
    if not asked.quiet or asked.as_json:
        emit(
            {"url": server.url, "out": str(out)},
            f"open {server.url}\nPress Ctrl-C to end. Each rating is written to {out} immediately.",
        )
    server.serve()


def _check_writable(out: Path) -> None:
    """Raise the disk's error now rather than at the first rating."""
    new = not out.exists()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.open("ab").close()
    if new:
        out.unlink()
