"""What the commands for single parts share: one evaluation of chosen parts, shown as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ts_data.console import merge, show_progress, validate

__all__ = ["evaluate_parts"]


def evaluate_parts(
    parts: Sequence[str],
    models: list[str],
    data: Path,
    flags: dict[str, Any],
    config: Path | None,
    settings: list[str] | None,
    *,
    index: Path | None = None,
    allow_overlap: bool = False,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the parts and print every metric; JSON holds models, real stories and baselines."""
    from ..evaluation import evaluate
    from ..schemas import EvalConfig
    from ._show import emit_report, summary

    chosen = validate(EvalConfig, merge(config, settings, {**flags, "parts": list(parts)}))
    with show_progress(quiet=quiet) as progress:
        made = evaluate(models, data, chosen, index=index, allow_overlap=allow_overlap, progress=progress)
    fields = {"warnings", "models", "real", "baselines", "comparisons"}
    emit_report(made.model_dump(mode="json", include=fields), lambda: summary(made), made.warnings, as_json=as_json)
