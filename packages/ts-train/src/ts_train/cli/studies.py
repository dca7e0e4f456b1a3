"""ts-train search, ladder, ablate: many trainings that answer one question, to a table and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ts_models.console import Progress, Set, emit, merge, show_progress, table, validate, warn

from .common import DEFAULT, stoppable

if TYPE_CHECKING:
    from ..studies.schemas import AblationReport, LadderReport, SearchReport

Data = Annotated[Path, typer.Option("--data", help="The encoded/ folder.")]
Out = Annotated[Path, typer.Option("--out", help="The study's folder. Finished runs in it are not repeated.")]


def search(
    config: Annotated[str, typer.Option(help="A TOML file (base, space, trials …), or the built-in `learning-rates`.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of runs and report; the same for all workers on one disk.")],
    storage: Annotated[str | None, typer.Option(help="Any URL that Optuna takes.", show_default="sqlite:///OUT/study.db")] = None,
    study: Annotated[str, typer.Option(help="The study's name in the storage.")] = "search",
    trials: Annotated[int | None, typer.Option(help="Trials of the whole study, all workers together.")] = None,
    set: Set = None,
) -> None:
    """Search for the settings with the lowest validation loss. Start it several times to use several workers.

    Example: ts-train search --config learning-rates --data encoded/ --out search/ --trials 30
    """
    from ..recipes import study_file
    from ..studies.schemas import SearchConfig
    from ..studies.search import search as run

    settings = validate(SearchConfig, merge(file := study_file("searches", config), set, {"trials": trials}), config)
    with _study(out, [data, file]) as progress:
        report = run(settings, data, out, storage=storage, study=study, progress=progress, warn=warn)
    shown = f"wrote {out / 'results.json'}, {out / 'pareto.png'}"
    emit(report, lambda: f"{_search_text(report)}\n\n{shown}", then=_longer_run(report, data))


def ladder(
    config: Annotated[str, typer.Option(help="A TOML file (base, sizes, tokens, predict), or the built-in `story`.")],
    data: Data,
    out: Out,
    set: Set = None,
) -> None:
    """Train sizes × budgets, fit a scaling law, predict larger presets with an interval.

    Example: ts-train ladder --config story --data encoded/ --out ladder/
    """
    from ..recipes import study_file
    from ..studies.ladder import ladder as run
    from ..studies.schemas import LadderConfig

    settings = validate(LadderConfig, merge(file := study_file("ladders", config), set, {}), config)
    with _study(out, [data, file]) as progress:
        report = run(settings, data, out, progress=progress, warn=warn)
    preset = report.predictions[-1].preset if report.predictions else DEFAULT
    shown = f"wrote {out / 'results.json'}, {out / 'plot.png'}"
    following = f"ts-train run --preset {preset} --data {quote(str(data))} --out run/"
    emit(report, lambda: f"{ladder_text(report)}\n\n{shown}", then=following)


def ablate(
    ablation: Annotated[str, typer.Argument(help="A TOML file, or the name of a built-in one: heads, norm, dropout …")],
    data: Data,
    out: Out,
    seeds: Annotated[int | None, typer.Option(help="Use seeds 1 to N instead of the file's.", min=1)] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps of each run.")] = None,
    set: Set = None,
) -> None:
    """Train every variant from every seed, and compare them in OUT/results.json and OUT/plot.png.

    Example: ts-train ablate heads --data encoded/ --out heads/ --set base.max_tokens=1000000
    """
    from ..recipes import study_file
    from ..studies.ablation import ablate as run
    from ..studies.schemas import AblationConfig

    flags = {"seeds": None if seeds is None else list(range(1, seeds + 1)), "base.max_steps": max_steps}
    config = validate(AblationConfig, merge(file := study_file("ablations", ablation), set, flags), ablation)
    with _study(out, [data, file]) as progress:
        report = run(config, data, out, progress=progress, warn=warn)
    shown = f"wrote {out / 'results.json'}, {out / 'plot.png'}"
    following = f"ts-train plot {quote(str(out / 'cells'))}/*/run --out losses.png"
    emit(report, lambda: f"{_ablation_text(report)}\n\n{shown}", then=following)


@contextmanager
def _study(out: Path, inputs: Sequence[Path]) -> Iterator[Progress]:
    """Refuse an `out` that is an input; then show progress, and end as a stopped run does."""
    from ts_models.artefact import keep_apart

    keep_apart(out, inputs)
    with stoppable(), show_progress() as progress:
        yield progress


def _longer_run(report: SearchReport, data: Path) -> str | None:
    """The command that trains with the best settings."""
    best = next((trial for trial in report.trials if trial.number == report.best), None)
    if best is None:
        return None
    chosen = [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in best.params.items()]
    settings = " ".join(f"--set {quote(one)}" for one in chosen)
    return f"ts-train run --preset {report.config.base.get('preset') or DEFAULT} --data {quote(str(data))} --out run/ {settings}"


def _search_text(report: SearchReport) -> str:
    names = list(report.config.space)
    order = sorted(report.trials, key=lambda t: (t.state != "complete", t.loss is None, t.loss or 0.0))
    rows = [
        [
            t.number, t.state, _number(t.loss), "—" if t.flops is None else f"{t.flops:.3g}",
            "—" if t.seconds is None else f"{t.seconds:,.1f}", *(_value(t.params.get(name)) for name in names),
        ]
        for t in order
    ]  # fmt: skip
    shares = ", ".join(f"{name} {share:.0%}" for name, share in report.importance.items())
    best = "no trial is complete" if report.best is None else f"best: trial {report.best}"
    listed = table(rows, ["trial", "state", "loss", "FLOPs", "seconds", *names])
    return f"{listed}\n\n{best}" + (f"\nimportance: {shares}" if shares else "")


def ladder_text(report: LadderReport) -> str:
    """The runs, the fitted law and its predictions."""
    cells = [
        [c.name, f"{c.parameters:,}", f"{c.tokens:,}", "diverged" if c.loss is None else f"{c.loss:.4f}", f"{c.seconds:,.1f}"]
        for c in report.cells
    ]
    measured = table(cells, ["run", "parameters", "tokens", "loss", "seconds"])
    if report.fit is None:
        return f"{measured}\n\nno fit: {report.refusal}"
    f = report.fit
    law = (
        f"{f.equation(4)}  ({f.points} runs, residual {f.residual:.2%})\n"
        f"95 %: E {f.e_interval[0]:.4g} … {f.e_interval[1]:.4g}, alpha {f.alpha_interval[0]:.3g} … {f.alpha_interval[1]:.3g}, "
        f"beta {f.beta_interval[0]:.3g} … {f.beta_interval[1]:.3g}"
    )
    rows = [
        [
            p.preset, f"{p.parameters:,}", f"{p.tokens:,}", "—" if p.tokens_per_step is None else f"{p.tokens_per_step:,}",
            _number(p.loss), _interval(p.interval), f"{p.beyond:,.1f}",
        ]
        for p in report.predictions
    ]  # fmt: skip
    header = ["predicted", "parameters", "tokens", "tokens a step", "loss", "95 %", "FLOPs over the ladder's most"]
    note = "The interval is that of the fit; whether the law holds beyond the ladder is not known."
    return f"{measured}\n\n{law}" + (f"\n\n{table(rows, header)}\n{note}" if rows else "")


def _ablation_text(report: AblationReport) -> str:
    header = [
        "variant", "parameters", "runs", "loss", "95 %", "against", "difference", "95 %", "bits/byte", "seconds", "tokens/s",
    ]  # fmt: skip
    rows = [
        [
            row.name, f"{row.parameters:,}", f"{row.runs - row.diverged} of {row.runs}", _number(row.loss),
            _interval(row.loss_interval), "—" if row.against == row.name else row.against, _number(row.difference, "+"),
            _interval(row.difference_interval, "+"), _number(row.bits_per_byte), f"{row.seconds:,.1f}", f"{row.tokens_per_second:,.0f}",
        ]
        for row in report.rows
    ]  # fmt: skip
    return f"{report.config.question}\n\n{table(rows, header)}"


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None, sign: str = "") -> str:
    return "—" if value is None else f"{value:{sign}.4f}"


def _interval(pair: tuple[float, float] | None, sign: str = "") -> str:
    return "—" if pair is None else f"{pair[0]:{sign}.4f} … {pair[1]:{sign}.4f}"
