"""`ts-eval optimise-prompt`: options and output; `ts_eval.calibration.optimise_prompt` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set, emit, show_progress, table

from ._options import Backend, BaseUrl, Model, Store, announcer, judge_settings

if TYPE_CHECKING:
    from ..schemas import PromptSearchReport


def optimise_prompt(
    rated: Annotated[Path, typer.Argument(help="Stories with ratings (.jsonl) to agree with.")],
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", help="A candidate; the first is the prompt in use. May be repeated.")
    ] = None,
    orders: Annotated[int, typer.Option("--orders", min=1, help="Orders of examples and categories to try for each prompt.")] = 3,
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="Ratings per story.")] = 3,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Number of stories to use.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Report (JSON); the chosen prompt is written beside it.")] = Path(
        "prompt-search.json"
    ),
    backend: Backend = None,
    base_url: BaseUrl = None,
    model: Model = None,
    store: Store = None,
    config: Config = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose the judge's prompt by agreement, noise and parse rate on one half of the stories; report on the other half.

    Example: ts-eval optimise-prompt rated.jsonl --prompt default --prompt mine.toml --base-url … --model …
    """
    from ..calibration import optimise_prompt as work

    first, others = (prompts[0], prompts[1:]) if prompts else (None, [])
    flags = {"backend": backend, "model": model, "prompt": first, "repeats": repeats}
    options = judge_settings(config, set_, base_url, flags)
    with show_progress(quiet=quiet) as progress:
        report = work(
            rated, options, prompts=others, orders=orders, out=out, store=store, limit=limit, progress=progress,
            announce=announcer(quiet=quiet),
        )  # fmt: skip
    emit(report, lambda: _text(report, out), as_json=as_json, quiet=quiet)


def _text(report: PromptSearchReport, out: Path) -> str:
    def rows(trials: object) -> str:
        header = ["prompt", "score", "MAE", "noise", "parse rate", "rated"]
        cells = [[t.prompt, _number(t.score), _number(t.mae), _number(t.noise), f"{t.parse_rate:.1%}", t.rated] for t in trials]  # type: ignore[attr-defined]
        return table(cells, header)

    lines = [f"on the {report.tuning_stories} stories of the choice:", rows(report.tuning), ""]
    lines += [f"on the other {report.reporting_stories} stories (figures to report):", rows(report.reporting), ""]
    return "\n".join([*lines, f"chosen: {report.chosen}", f"wrote {out}, {out.with_suffix('.prompt.json')}"])


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"
