"""Plots: loss curves of runs, and the results of search, ladder and ablate. Imports matplotlib on use."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ts_models import artefact

from ..errors import ArtefactError, ConfigError
from ..run_folder import read_manifest
from ..sinks.jsonl import read_metrics
from .schemas import AblationReport, LadderReport, SearchReport

SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
"""File suffix → signature of such a file."""
LOSS = "best validation loss, nats per token"


def plot(runs: Sequence[artefact.StrPath], out: artefact.StrPath) -> Path:
    """Draw loss by tokens, by time and by FLOPs, and the learning rate: training as a thin line, validation with dots.

    Raises:
        ArtefactError: a folder holds no run, or its metrics.jsonl has no step. ConfigError: `out` is no picture's name.
        TypeError: `runs` is a path, not a list of paths.
    """
    if isinstance(runs, str | os.PathLike):
        raise TypeError(f"`runs` is a {type(runs).__name__}, a list of run folders was expected: plot([run], out).")
    if not runs:
        raise ConfigError("no run to plot; name at least one run folder.")
    target = Path(out)
    if target.suffix.lower() not in SIGNATURES:
        raise ConfigError(f"{target}: no picture of that kind can be written. Name a file that ends in {', '.join(SIGNATURES)}.")
    artefact.check_file(target, "a picture", lambda start: start.startswith(tuple(SIGNATURES.values())), error=ConfigError)
    figure, axes = _figure(height=8, rows=2, columns=2)
    from matplotlib.ticker import EngFormatter

    names = [_plain(name) for name in distinct_names([Path(run) for run in runs])]
    for number, (run, name) in enumerate(zip(runs, names, strict=True)):
        steps, points, flops = _curves(Path(run))
        color = f"C{number % 10}"
        for axis, (key, scale) in zip(axes.flat, (("tokens", 1.0), ("seconds", 1 / 60), ("tokens", flops)), strict=False):
            axis.plot(steps[key] * scale, _smooth(steps["loss"]), color=color, linewidth=0.8, alpha=0.5)
            axis.plot(points[key] * scale, points["validation_loss"], "o-", color=color, markersize=3, label=name)
        axes.flat[3].plot(steps["tokens"], steps["lr"], color=color, label=name)
    labels = (
        ("Loss by tokens", "tokens", "nats per token"),
        ("Loss by time", "minutes of training", "nats per token"),
        ("Loss by compute", "FLOPs", "nats per token"),
        ("Learning rate", "tokens", "learning rate"),
    )
    for axis, (title, x, y) in zip(axes.flat, labels, strict=True):
        axis.set(title=title, xlabel=x, ylabel=y)
        if x != "minutes of training":
            axis.xaxis.set_major_formatter(EngFormatter())
    axes.flat[0].legend(title="dots: validation, line: training")
    figure.suptitle(f"Training of {', '.join(names)}", wrap=True)
    _save(figure, target)
    return target


def distinct_names(runs: Sequence[Path]) -> list[str]:
    """As many of the last parts of each path as tell the runs apart."""
    parts = [run.resolve().parts for run in runs]
    depth = next((n for n in range(1, 9) if len({part[-n:] for part in parts}) == len(set(parts))), 9)
    return ["/".join(part[-depth:]) for part in parts]


def _curves(run: Path) -> tuple[dict[str, Any], dict[str, Any], float]:
    manifest = read_manifest(run)
    rows = list(read_metrics(run / "metrics.jsonl"))
    steps = [row for row in rows if row.get("kind") == "step" and not row.get("skipped")]
    points = [row for row in rows if row.get("kind") == "validation"]
    if not steps:
        raise ArtefactError(f"{run / 'metrics.jsonl'}: holds no step. Was the run begun, with the sink jsonl?")
    keys = ("step", "seconds", "tokens")
    try:
        return (
            {key: np.array([float(row[key]) for row in steps]) for key in (*keys, "loss", "lr")},
            # null becomes NaN, which is not drawn.
            {key: np.array([row[key] for row in points], float) for key in (*keys, "validation_loss")},
            manifest.flops_per_token,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as problem:
        raise ArtefactError(f"{run / 'metrics.jsonl'}: a row lacks a number ({problem}); the file is damaged.") from None


def _smooth(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Moving average over a fiftieth of the run."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - max(1, len(values) // 50))
    smooth: np.ndarray[Any, Any] = (sums[ends] - sums[starts]) / (ends - starts)
    return smooth


def plot_ablation(report: AblationReport, out: Path) -> None:
    """Mean loss per variant with its 95 % interval; each seed as a pale dot."""
    rows = list(reversed(report.rows))
    figure, axis = _figure(height=1.6 + 0.45 * len(rows))
    for place, row in enumerate(rows):
        losses = [cell.loss for cell in report.cells if cell.name == row.name and cell.loss is not None]
        axis.plot(losses, [place] * len(losses), "o", color="C0", alpha=0.35, markersize=5)
        if row.loss is None:
            axis.annotate("diverged", (0.5, place), xycoords=("axes fraction", "data"), va="center", ha="center")
        elif row.loss_interval is not None:
            axis.plot(row.loss_interval, [place, place], color="C0", linewidth=2)
        axis.plot([] if row.loss is None else [row.loss], [] if row.loss is None else [place], "D", color="C0", markersize=6)
    axis.set_yticks(range(len(rows)), [_plain(row.name) for row in rows])
    axis.set(ylim=(-0.6, len(rows) - 0.4), xlabel=f"{LOSS} (diamond: mean; line: 95 % interval; dots: seeds)")
    axis.set_title(_plain(report.config.question), wrap=True)
    _save(figure, out)


def plot_ladder(report: LadderReport, out: Path) -> None:
    """Loss against tokens, one color per size; the fitted law as lines, predictions with their interval."""
    figure, axis = _figure(height=6)
    cells = [cell for cell in report.cells if cell.loss is not None]
    sizes = sorted({cell.parameters for cell in cells} | {p.parameters for p in report.predictions})
    colors = {size: f"C{i % 10}" for i, size in enumerate(sizes)}
    reach = [*(cell.tokens for cell in cells), *(p.tokens for p in report.predictions)]
    for size in sizes:
        own = [cell for cell in cells if cell.parameters == size]
        axis.plot([c.tokens for c in own], [c.loss for c in own], "o", color=colors[size], label=f"{size:,} parameters")
        if report.fit is not None:
            tokens = np.geomspace(min(reach), max(reach), 80)
            f = report.fit
            axis.plot(tokens, f.e + (f.a / size**f.alpha + f.b / tokens**f.beta) ** f.gamma, color=colors[size], linewidth=1)
    for p in report.predictions:
        axis.plot([p.tokens] * 2, p.interval, color=colors[p.parameters], linewidth=3, alpha=0.5)
    title = "no fit" if report.fit is None else report.fit.equation(3)
    axis.set(xscale="log", xlabel="training tokens", ylabel=LOSS, title=title)
    if sizes:
        axis.legend(title="dots: measured; lines: fit;\nbars: predicted, 95 %", fontsize=8)
    _save(figure, out)


def plot_pareto(report: SearchReport, out: Path) -> None:
    """Loss against FLOPs and against seconds; a line joins the Pareto-optimal trials."""
    figure, axes = _figure(height=4.5, columns=2)
    done = [t for t in report.trials if t.state == "complete" and t.loss is not None]
    costs: tuple[tuple[Literal["flops", "seconds"], str], ...] = (("flops", "training FLOPs"), ("seconds", "seconds of training"))
    for axis, (cost, unit) in zip(axes, costs, strict=True):
        axis.plot([getattr(t, cost) for t in done], [t.loss for t in done], "o", alpha=0.5)
        front = [t for number in report.pareto[cost] for t in done if t.number == number]
        axis.plot([getattr(t, cost) for t in front], [t.loss for t in front], "D-", color="C1", label="none is better in both")
        for trial in front:
            axis.annotate(
                str(trial.number), (getattr(trial, cost), trial.loss), textcoords="offset points", xytext=(5, 5), fontsize=8
            )
        axis.set(xlabel=unit, ylabel=LOSS)
    axes[0].legend()
    _save(figure, out)


def plot_importance(report: SearchReport, out: Path) -> None:
    """Importance of each field."""
    figure, axis = _figure(height=1.6 + 0.4 * len(report.importance))
    names = list(reversed(report.importance))
    axis.barh(names, [report.importance[name] for name in names])
    axis.set_xlabel("importance (PED-ANOVA), shares of 1")
    _save(figure, out)


def _figure(*, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    size = (9 if columns == 1 else 11, height)
    figure, axes = plt.subplots(rows, columns, figsize=size, constrained_layout=True)
    for axis in figure.axes:
        axis.grid(alpha=0.3)
    return figure, axes


def _plain(name: str) -> str:
    """A name of a user as matplotlib shows it: no formula between two `$`, and not left out of a legend for its first `_`."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _save(figure: Any, out: Path) -> None:
    from matplotlib import pyplot as plt

    with artefact.write_file(out) as aside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # shown as a box
        figure.savefig(aside, dpi=120, format=out.suffix[1:].lower())
    plt.close(figure)
