"""A report as text for a terminal of 80 columns: one metric per line, one column per model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ts_data.console import emit, table, warn

if TYPE_CHECKING:
    from ..schemas import Estimate, EvalReport

__all__ = ["banner", "emit_report", "summary"]


def summary(report: EvalReport) -> str:
    """Warnings, a table of every metric with its interval (real stories last), the n-gram baselines, and notes on what was not measured."""
    columns = [*report.models, report.real]
    names = list(dict.fromkeys(name for model in columns for name in model.metrics))
    rows = [[name, *(_cell(model.metrics.get(name)) for model in columns)] for name in names]
    parts = [banner(report.warnings)] if report.warnings else []
    if rows:
        parts.append(table(rows, ["metric", *(model.name for model in columns)]))
    if report.baselines:
        lines = [
            [b.name, f"{b.loss:.3f}", f"{b.perplexity:.1f}", "–" if b.bits_per_byte is None else f"{b.bits_per_byte:.3f}"]
            for b in report.baselines
        ]
        parts.append(table(lines, ["n-gram model on the same ids", "loss", "perplexity", "bits/byte"]))
    parts += [f"{model.name}: {note}" for model in report.models for note in model.notes]
    return "\n\n".join(parts)


def banner(warnings: Sequence[str]) -> str:
    """The warnings of a report, printed above its numbers."""
    return "\n".join(f"WARNING: {warning}" for warning in warnings)


def emit_report(payload: Mapping[str, Any], text: Callable[[], str], warnings: Sequence[str], *, as_json: bool) -> None:
    """Print a report; with --json, also print its warnings to stderr."""
    for warning in warnings if as_json else ():
        warn(warning)
    emit(payload, text, as_json=as_json)


def _cell(e: Estimate | None) -> str:
    if e is None or e.mean is None:
        return "–"
    text = f"{e.mean:.3f}"
    return text if e.low is None or e.high is None else f"{text} [{e.low:.3f}, {e.high:.3f}]"
