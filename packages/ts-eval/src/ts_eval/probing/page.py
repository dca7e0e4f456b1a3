"""Renders a ProbeReport as one HTML page: a table of phenomena and models, and the acquisition over checkpoints."""

from __future__ import annotations

from typing import Any

from ..report.svg import Line, lines
from ..report.template import load_template
from ..schemas import ProbeReport


def page(report: ProbeReport) -> str:
    """The whole page. The template escapes all text; only the chart is inserted as markup."""
    groups = list(dict.fromkeys(p.group for p in report.phenomena))
    text: str = load_template("probing").render(
        report=report,
        groups=[(group, [p for p in report.phenomena if p.group == group]) for group in groups],
        adversaries=list(report.phenomena[0].adversaries),
        chart=_acquisition(report, groups),
    )
    return text


def _acquisition(report: ProbeReport, groups: list[str]) -> dict[str, Any]:
    """Accuracy of each group over the training tokens, and the names of its curves."""
    curves = [
        Line(group, i, [(float(c.tokens or 0), c.groups[group]) for c in report.acquisition]) for i, group in enumerate(groups)
    ]
    svg = lines(curves, x_label="training tokens", y_label="accuracy", title="Acquisition by group of phenomena")
    return {"svg": svg, "names": groups}
