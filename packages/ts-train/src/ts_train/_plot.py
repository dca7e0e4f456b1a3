"""Loss curves of several runs, drawn from run/metrics.jsonl and run/config.json."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ts_models import artefact

from ._run_folder import read_manifest
from .errors import ArtefactError, ConfigError
from .sinks.jsonl import read_metrics

__all__ = ["plot"]

SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
"""Ending of a picture's name -> how such a file begins."""


def plot(runs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Path:
    """Draw loss against steps, seconds, tokens and FLOPs: training as a thin line, validation with dots.

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
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), sharey=True, constrained_layout=True)
    for number, run in enumerate(runs):
        steps, points, flops = _curves(Path(run))
        color = f"C{number % 10}"
        for axis, (key, scale) in zip(axes.flat, _columns(flops), strict=True):
            alone = {} if len(points["step"]) else {"label": Path(run).name}
            axis.plot(steps[key] * scale, _smooth(steps["loss"]), color=color, linewidth=0.8, alpha=0.5, **alone)
            if len(points["step"]):
                axis.plot(points[key] * scale, points["validation_loss"], "o-", color=color, markersize=3, label=Path(run).name)
    for axis, label in zip(axes.flat, ("optimizer steps", "seconds of training", "tokens", "FLOPs"), strict=True):
        axis.set_xlabel(label)
        axis.set_ylabel("nats per token")
        axis.grid(alpha=0.3)
    axes.flat[0].legend(title="validation (line: training)")
    with artefact.write_file(target) as aside:
        figure.savefig(aside, dpi=120, format=target.suffix[1:].lower())
    plt.close(figure)
    return target


def _columns(flops: float) -> list[tuple[str, float]]:
    return [("step", 1.0), ("seconds", 1.0), ("tokens", 1.0), ("tokens", flops)]


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
            {key: np.array([float(row[key]) for row in steps]) for key in (*keys, "loss")},
            {key: np.array([_number(row[key]) for row in points]) for key in (*keys, "validation_loss")},
            manifest.flops_per_token,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as problem:
        raise ArtefactError(f"{run / 'metrics.jsonl'}: a row lacks a number ({problem}); the file is damaged.") from None


def _number(value: Any) -> float:
    """NaN, which is not drawn, where a measurement was not finite."""
    return math.nan if value is None else float(value)


def _smooth(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mean over a window of a fiftieth of the run, so that the trend shows."""
    width = max(1, len(values) // 50)
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    smooth: np.ndarray[Any, Any] = (sums[ends] - sums[starts]) / (ends - starts)
    return smooth
