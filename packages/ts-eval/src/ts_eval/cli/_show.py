"""A report as text for a terminal of 80 columns: one metric per line, one column per model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ts_data.console import asked, emit, table, warn

if TYPE_CHECKING:
    from ..schemas import Estimate, EvalReport


LINES = 8
"""Lines of a verdict on a terminal; the path of the report and the next step are the ninth and the tenth."""


def summary(report: EvalReport) -> str:
    """Warnings, a table of every metric with its interval (real stories last), the n-gram baselines, and notes on what was not measured."""
    columns = [*report.models, report.real]
    names = list(dict.fromkeys(name for model in columns for name in model.metrics))
    rows = [[name, *(_cell(model.metrics.get(name)) for model in columns)] for name in names]
    parts = [banner(report.warnings).rstrip()] if report.warnings else []
    if rows:
        parts.append(table(rows, ["metric", *(model.name for model in columns)]))
    if report.baselines:
        lines = [
            [b.label, f"{b.loss:.3f}", f"{b.perplexity:.1f}", "–" if b.bits_per_byte is None else f"{b.bits_per_byte:.3f}"]
            for b in report.baselines
        ]
        parts.append(table(lines, ["baseline", "loss", "perplexity", "bits/byte"]))
    parts += [f"{model.name}: {note}" for model in report.models for note in model.notes]
    return "\n\n".join(parts)


def banner(warnings: Sequence[str]) -> str:
    """The warnings of a report, one per line, printed above its numbers."""
    return "".join(f"WARNING: {warning}\n" for warning in warnings)


def verdict(report: EvalReport) -> str:
    """The verdicts in at most eight lines of 80 columns: the sentences of one model, or the headline of each of several."""
    if len(report.verdicts) == 1:
        sentences = [line for finding in report.verdicts[0].findings for line in _wrapped(finding.text)]
        if sentences and len(sentences) <= LINES:
            return "\n".join(sentences)
    lines = [_wrapped(found.headline) for found in report.verdicts]
    fitting = [part for part, end in zip(lines, accumulate(map(len, lines)), strict=True) if end < LINES]
    more = len(lines) - len(fitting)
    rest = [f"and {more} more model{'' if more == 1 else 's'}; see the report"] if more else []
    return "\n".join([*(line for part in fitting for line in part), *rest])


def _wrapped(text: str) -> list[str]:
    return wrap(text, 80, subsequent_indent="  ", break_on_hyphens=False)


def emit_report(
    payload: Mapping[str, Any], text: Callable[[], str], warnings: Sequence[str], *, written: bool = True, then: str | None = None
) -> None:
    """Print a report as `emit` does; its warnings go to stderr where its text is not printed whole."""
    for warning in warnings if asked.as_json or (asked.quiet and written) else ():
        warn(warning)
    emit(payload, text, written=written, then=then)


def _cell(e: Estimate | None) -> str:
    if e is None or e.mean is None:
        return "–"
    text = f"{e.mean:.3f}"
    return text if e.low is None or e.high is None else f"{text} [{e.low:.3f}, {e.high:.3f}]"
