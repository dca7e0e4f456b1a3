"""Renders a ProbeReport as one HTML page: a table of phenomena and models, and the acquisition over checkpoints."""

from ..report.svg import Line, lines
from ..report.template import Cell, Table, load_template
from ..schemas import ProbeReport


def page(report: ProbeReport) -> str:
    """The whole page. The template escapes all text; only the chart is inserted as markup."""
    groups = list(dict.fromkeys(p.group for p in report.phenomena))
    text: str = load_template("probing/page.html.j2").render(
        report=report,
        groups=[(group, [p for p in report.phenomena if p.group == group]) for group in groups],
        adversaries=list(report.phenomena[0].adversaries),
        scores=_scores(report),
        acquisition=_acquisition(report, groups),
        chart=_chart(report, groups),
    )
    return text


def _scores(report: ProbeReport) -> Table:
    """Accuracy in %, interval and ties of each phenomenon."""
    adversaries = list(report.phenomena[0].adversaries)
    rows = [[Cell("mean"), Cell(""), *(Cell(_percent(m.accuracy)) for m in report.models), *(Cell("") for _ in adversaries)]]
    for p in report.phenomena:
        found = [m.scores[p.name] for m in report.models]
        shares = [Cell(_percent(s.accuracy), f"[{_percent(s.low)}, {_percent(s.high)}]") for s in found]
        rows.append([Cell(p.name), Cell(p.group), *shares, *(Cell(_percent(p.adversaries[a])) for a in adversaries)])
    return Table("probe", [*map(Cell, ["phenomenon", "group", *(m.name for m in report.models), *adversaries])], rows)


def _acquisition(report: ProbeReport, groups: list[str]) -> Table:
    """Mean accuracy in % of all phenomena and of each group at each checkpoint."""
    rows = [
        [Cell(str(c.step)), Cell(str(c.tokens)), *(Cell(_percent(x)) for x in (c.accuracy, *(c.groups[g] for g in groups)))]
        for c in report.acquisition
    ]
    return Table("acquisition", [*map(Cell, ["step", "tokens", "mean", *groups])], rows)


def _chart(report: ProbeReport, groups: list[str]) -> str:
    """Accuracy of each group over the training tokens."""
    curves = [
        Line(group, i, [(float(c.tokens or 0), c.groups[group]) for c in report.acquisition]) for i, group in enumerate(groups)
    ]
    return lines(curves, x_label="training tokens", y_label="accuracy", title="Acquisition by group of phenomena")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
