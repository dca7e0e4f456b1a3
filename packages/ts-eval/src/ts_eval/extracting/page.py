"""Renders an ExtractionReport as one HTML page: three curves and a table."""

from typing import Any

from ..report.svg import Line, lines
from ..report.template import Cell, Table, load_template
from ..schemas import ExtractionModel, ExtractionReport


def page(report: ExtractionReport) -> str:
    """The whole page. The template escapes all text; only the charts are inserted as markup."""
    remarks = [*report.notes, *(f"{model.name}: {note}" for model in report.models for note in model.notes)]
    text: str = load_template("extracting/page.html.j2").render(
        report=report, charts=_charts(report), shares=_shares(report), remarks=remarks
    )
    return text


def _shares(report: ExtractionReport) -> Table:
    """The share extracted, in %, and its interval by group, copies and prompt length."""
    head = ["Stories", "copies in train", "prompt, words", *(model.name for model in report.models)]
    rows = []
    for points in zip(*(model.points for model in report.models), strict=True):
        group = Cell(points[0].group, f"{points[0].stories} stories")
        shares = [Cell(f"{100 * p.share:.1f} %", f"{100 * p.low:.1f} – {100 * p.high:.1f}") for p in points]
        rows.append([group, Cell(str(points[0].times)), Cell(str(points[0].prompt_words)), *shares])
    return Table("extraction", [*map(Cell, head)], rows)


def _charts(report: ExtractionReport) -> list[dict[str, Any]]:
    longest = max(point.prompt_words for model in report.models for point in model.points)

    def curve(model: ExtractionModel, i: int, held_out: bool) -> Line:
        kind, times = ("held-out", 0) if held_out else ("train", 1)
        found = [(float(p.prompt_words), p.share) for p in model.points if (p.group, p.times) == (kind, times)]
        return Line(f"{model.name}, {kind}", i, found, dashed=held_out)

    def copies(model: ExtractionModel, i: int) -> Line:
        found = [
            (float(p.times), p.share) for p in model.points if p.prompt_words == longest and p.group in {"canaries", "controls"}
        ]
        return Line(model.name, i, sorted(found))

    by_size = sorted(
        (float(model.parameters), p.share)
        for model in report.models
        for p in model.points
        if model.parameters and (p.group, p.times, p.prompt_words) == ("train", 1, longest)
    )
    charts = [
        (
            "Prompt length",
            "words of the prompt",
            [curve(m, i, held) for i, m in enumerate(report.models) for held in (False, True)],
        ),
        (
            "Copies of a canary",
            f"copies in train (prompt of {longest} words)",
            [copies(m, i) for i, m in enumerate(report.models)],
        ),
        ("Model size", f"parameters (prompt of {longest} words)", [Line("training stories", 0, by_size)]),
    ]
    made = [{"title": t, "svg": lines(curves, x_label=x, y_label="share extracted", title=t)} for t, x, curves in charts]
    return [chart for chart in made if chart["svg"]]
