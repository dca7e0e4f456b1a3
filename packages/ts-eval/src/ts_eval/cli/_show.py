"""A report as text for a terminal of 80 columns: one metric per line, one column per model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ts_data.console import table

if TYPE_CHECKING:
    from ..schemas import Estimate, EvalReport

__all__ = ["summary"]


def summary(report: EvalReport) -> str:
    """Every metric with its interval, the real stories last, then the n-gram baselines and what could not be measured."""
    columns = [*report.models, report.real]
    names = list(dict.fromkeys(name for model in columns for name in model.metrics))
    rows = [[name, *(_cell(model.metrics.get(name)) for model in columns)] for name in names]
    parts = [table(rows, ["metric", *(model.name for model in columns)])] if rows else []
    if report.baselines:
        lines = [
            [b.name, f"{b.loss:.3f}", f"{b.perplexity:.1f}", "–" if b.bits_per_byte is None else f"{b.bits_per_byte:.3f}"]
            for b in report.baselines
        ]
        parts.append(table(lines, ["n-gram model on the same ids", "loss", "perplexity", "bits/byte"]))
    parts += [f"{model.name}: {note}" for model in report.models for note in model.notes]
    return "\n\n".join(parts)


def _cell(e: Estimate | None) -> str:
    if e is None or e.mean is None:
        return "–"
    text = f"{e.mean:.3f}"
    return text if e.low is None or e.high is None else f"{text} [{e.low:.3f}, {e.high:.3f}]"
