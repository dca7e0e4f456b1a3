"""Renders an EvalReport as HTML: prepares tables and charts; `page.html.j2` holds the text and the style."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from ..metrics import all_info
from ..schemas import CATEGORIES, Estimate, EvalReport, MetricInfo, ModelReport, Story
from .highlight import Piece, holds, side_by_side, with_exact
from .svg import Line, Row, Spot, intervals, lines, scatter

__all__ = ["page"]

MANY = 4
"""From this number of models on, charts omit the single stories."""


def page(report: EvalReport) -> str:
    """The whole HTML page. The template escapes all text; only the charts are inserted as markup."""
    info = _info(report)
    completion_charts = _charts(report, info, "memorisation")
    maximum_charts = _charts(report, info, "overfitting") + _charts(report, info, "paper")
    columns = _columns(report, info)
    text: str = _template().render(
        report=report,
        rows=[*report.models, report.real],
        summary=_summary(report, info, columns),
        curves=_curves(report),
        baselines=_baselines(report),
        completion_charts=completion_charts,
        maximum_charts=maximum_charts,
        memorisation=any(chart["svg"] for chart in completion_charts + maximum_charts),
        any_stories=any(model.stories or model.completions for model in report.models),
        text_charts=_charts(report, info, "texts"),
        whole=_whole(report, info),
        ratings=_ratings(report),
        correlations=_correlations(report),
        comparisons=[c for c in report.comparisons if c.metric in columns],
        shown=[(model, _shown(report, model)) for model in report.models],
        prompts=_prompts(report.models),
        words=_neighbour_words(report.models),
        sweep=_sweep(report),
        config=json.dumps(report.config.model_dump(mode="json", exclude_defaults=True), indent=1),
        estimate=_estimate,
        title_of=_title(info),
    )
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ts_eval", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["n"] = _number
    return environment.get_template("page.html.j2")


# --- tables ------------------------------------------------------------------------------------


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1000 or (size >= 20 and float(value).is_integer()):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 20 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def _estimate(e: Estimate | None) -> dict[str, str]:
    if e is None or e.mean is None:
        return {"mean": "–", "interval": "", "sd": ""}
    interval = f"{_number(e.low)} – {_number(e.high)}" if e.low is not None and e.high is not None else ""
    return {"mean": _number(e.mean), "interval": interval, "sd": "" if e.sd is None else f"± {_number(e.sd)}"}


Info = Mapping[str, MetricInfo]


def _info(report: EvalReport) -> Info:
    """Name → how to read it: of every metric of this version, then of the others that the report describes itself."""
    known = all_info()
    return known | {name: info for name, info in report.info.items() if name not in known}


def _title(info: Info) -> Callable[[str], str]:
    def title(metric: str) -> str:
        section, split, name = metric.split(".", 2)
        return f"{info[name].title if name in info else name} ({section}, {split})"

    return title


def _columns(report: EvalReport, info: Info) -> dict[str, MetricInfo]:
    """Key → metric, for the columns of the summary table that some model has."""
    keys = {f"{metric.summary}.test.{name}": metric for name, metric in info.items() if metric.summary}
    return {key: metric for key, metric in keys.items() if any(key in model.metrics for model in report.models)}


def _summary(report: EvalReport, info: Info, columns: Mapping[str, MetricInfo]) -> dict[str, Any]:
    titles = [(metric.label or metric.title).format(context=report.config.context) for metric in columns.values()]
    rows = [(m, [_estimate(m.metrics.get(key)) for key in columns]) for m in [*report.models, report.real]]
    return {"titles": titles, "info": list(columns.values()), "rows": rows}


def _names(report: EvalReport, info: Info, section: str, *, per_story: bool) -> list[str]:
    """The metrics of a section: those with a value per story, or those with one for all; in the order of `info`."""
    rows = [*report.models, report.real]
    keys = dict.fromkeys(key for row in rows for key in row.metrics if key.startswith(f"{section}."))
    with_values = {key for row in rows for key in row.values}
    names = dict.fromkeys(key.split(".", 2)[2] for key in keys if (key in with_values) == per_story)
    order = {name: i for i, name in enumerate(info)}
    return sorted(names, key=lambda name: order.get(name, len(order)))


def _whole(report: EvalReport, info: Info) -> list[tuple[str, list[str]]]:
    """Rows of (title, each model's number) of the metrics that have one number for all stories."""
    rows = []
    for name in _names(report, info, "texts", per_story=False):
        found = [m.metrics.get(f"texts.test.{name}") for m in [*report.models, report.real]]
        rows.append((info[name].title if name in info else name, [_number(e.mean) if e else "–" for e in found]))
    return rows


def _prompts(models: Sequence[ModelReport]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Table → rows of (prompt, each model's completion)."""
    tables: dict[str, dict[str, list[str]]] = {}
    for i, model in enumerate(models):
        for answer in model.prompts:
            tables.setdefault(answer.table, {}).setdefault(answer.prompt, ["–"] * len(models))[i] = (
                f"{answer.completion} [{answer.grade}]" if answer.grade else answer.completion
            )
    return [(name, list(rows.items())) for name, rows in tables.items()]


def _neighbour_words(models: Sequence[ModelReport]) -> list[tuple[str, list[list[tuple[str, float]]]]]:
    words = list(dict.fromkeys(n.token for m in models for n in m.neighbours))
    return [(w, [[pair for n in m.neighbours if n.token == w for pair in n.nearest] for m in models]) for w in words]


def _shown(report: EvalReport, model: ModelReport) -> list[dict[str, Any]]:
    """The stories shown: evenly spaced from the one closest to a training story to the farthest."""
    ranked = sorted(model.stories, key=lambda s: -(s.closest.score if s.closest else 0))
    wanted = min(report.config.shown, len(ranked))
    picked = [ranked[round(i * (len(ranked) - 1) / max(wanted - 1, 1))] for i in range(wanted)]
    made = []
    for story in picked:
        left, right = side_by_side(story.text, story.closest.text if story.closest else "")
        span = story.span.text if story.span else ""
        made.append({"story": story, "left": with_exact(left, span), "right": with_exact(right, span), "holder": _holder(story)})
    return made


def _holder(story: Story) -> list[Piece]:
    """The training story with the longest exact span, marked; empty if the closest story also contains that span."""
    span = story.span
    if span is None or span.story is None or (story.closest is not None and holds(story.closest.text, span.text)):
        return []
    return with_exact([Piece(span.story)], span.text)


# --- charts ------------------------------------------------------------------------------------


def _band(report: EvalReport, keys: Sequence[str]) -> tuple[float, float, float] | None:
    for key in keys:
        e = report.real.metrics.get(key)
        if e is not None and e.mean is not None:
            return (e.low if e.low is not None else e.mean, e.mean, e.high if e.high is not None else e.mean)
    return None


def _charts(report: EvalReport, info: Info, section: str) -> list[dict[str, Any]]:
    names = _names(report, info, section, per_story=True)
    return [_chart(report, section, name, info.get(name)) for name in names if name not in info or info[name].chart]


def _chart(report: EvalReport, section: str, name: str, info: MetricInfo | None) -> dict[str, Any]:
    rows, crowded = [], len(report.models) >= MANY
    for colour, model in enumerate(report.models):
        spots = []
        for split in ("train", "test"):
            key = f"{section}.{split}.{name}"
            e = model.metrics.get(key)
            if e is not None and e.mean is not None:
                values = () if crowded else tuple(v for v in model.values.get(key, ()) if v is not None)
                spots.append(Spot(e.mean, e.low, e.high, values, hollow=split == "train", label=split))
        rows.append(Row(model.name, colour, spots))
    title = info.title if info else name
    band = _band(report, [f"{section}.test.{name}", f"{section}.train.{name}"])
    svg = intervals(rows, band=band, band_label=f"grey: {info.reference}" if info else "", title=title)
    return {"title": title, "svg": svg, "section": section}


def _curves(report: EvalReport) -> str:
    made = []
    for colour, model in enumerate(report.models):
        train = [(float(p.tokens), p.train_loss) for p in model.curve if p.train_loss is not None]
        validation = [(float(p.tokens), p.validation_loss) for p in model.curve if p.validation_loss is not None]
        made.append(Line(f"{model.name}: training", colour, train, dashed=True))
        made.append(Line(f"{model.name}: validation", colour, validation))
    return lines(made, x_label="tokens seen", y_label="loss, nats per token", title="Loss curves")


def _baselines(report: EvalReport) -> str:
    """Bits per byte of the models, followed by the n-gram models on the same ids."""
    rows = []
    for colour, model in enumerate(report.models):
        e = model.metrics.get("perplexity.test.bits_per_byte")
        if e is not None and e.mean is not None:
            rows.append(Row(model.name, colour, [Spot(e.mean, e.low, e.high)]))
    rows += [
        Row(f"{b.name} (ids of {b.model})", 9, [Spot(b.bits_per_byte, hollow=True)])
        for b in report.baselines
        if b.bits_per_byte is not None
    ]
    return intervals(rows, title="Bits per byte")


def _ratings(report: EvalReport) -> list[dict[str, str]]:
    made = []
    for category in CATEGORIES:
        rows = []
        for colour, model in enumerate(report.models):
            e = model.ratings.get(category)
            if e is not None and e.mean is not None:
                rows.append(Row(model.name, colour, [Spot(e.mean, e.low, e.high)]))
        real = report.real.ratings.get(category)
        band = None
        if real is not None and real.mean is not None:
            band = (real.low if real.low is not None else real.mean, real.mean, real.high if real.high is not None else real.mean)
        svg = intervals(rows, band=band, band_label="grey: real held-out stories" if band else "", title=category)
        if svg:
            made.append({"title": category.capitalize(), "svg": svg})
    return made


def _correlations(report: EvalReport) -> list[dict[str, Any]]:
    made = []
    for c in report.correlations:
        points, colours = [], []
        for i, m in enumerate(report.models):
            loss = m.held_out_loss
            rating = m.ratings.get(c.rating)
            if loss is not None and rating is not None and loss.mean is not None and rating.mean is not None:
                points.append((loss.mean, rating.mean, "mean", f"{m.name}: {loss.mean:.3f}, {rating.mean:.2f}"))
                colours.append(i)
        text = c.note
        if c.spearman is not None:
            text = f"Spearman {c.spearman:.2f}"
            if c.low is not None and c.high is not None:
                text += f" [{c.low:.2f}, {c.high:.2f}] over {c.models} models"
        svg = scatter(points, x_label="bits per byte or loss", y_label="rating", title=c.rating, colours=colours)
        made.append({"title": c.rating.capitalize(), "svg": svg, "text": text, "known": c.spearman is not None})
    return made


def _sweep(report: EvalReport) -> str:
    return "" if report.sweep is None else sweep_chart(report.sweep)


def sweep_chart(sweep: Any) -> str:
    """Quality against diversity; the front filled, the winner ringed, real stories in grey."""
    points = [
        (p.diversity, p.quality, "winner" if p.winner else "mean" if p.on_front else "off", f"{p.options}: quality {p.quality:.3f}, diversity {p.diversity:.3f}")
        for p in sweep.points
    ]  # fmt: skip
    points.append((sweep.real_diversity, sweep.real_quality, "real-point", "real held-out stories"))
    return scatter(points, x_label="diversity (1 - self-BLEU)", y_label=f"quality ({sweep.quality})", title="Decoding sweep")
