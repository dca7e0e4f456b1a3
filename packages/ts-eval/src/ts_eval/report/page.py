"""EvalReport → the page: chooses what stands where and draws the charts; `page.html.j2` holds the words and the looks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from ..schemas import CATEGORIES, Estimate, EvalReport, ModelReport, Story
from .highlight import Piece, holds, side_by_side, with_exact
from .svg import Line, Row, Spot, intervals, lines, scatter

__all__ = ["page"]

SUMMARY = (
    ("perplexity.test.bits_per_byte", "Bits per byte"),
    ("perplexity.test.perplexity", "Perplexity"),
    ("perplexity.test.first_loss", "Loss, first {context} tokens"),
    ("memorisation.test.cosine", "Completion cosine"),
    ("memorisation.test.rouge2", "Completion ROUGE-2"),
    ("overfitting.test.max_cosine", "Closest training story"),
    ("overfitting.test.max_train_rouge2", "Max ROUGE-2 in train"),
    ("overfitting.test.span_words", "Longest exact span"),
    ("texts.test.self_bleu", "Self-BLEU"),
    ("texts.test.repetition", "Repetition"),
    ("texts.test.misspellings", "Misspellings per 1,000"),
    ("texts.test.words", "Words"),
)
COMPLETION_CHARTS = ("cosine", "rouge1", "rouge2", "rougeL")
MAXIMUM_CHARTS = (
    ("overfitting", "max_cosine"),
    ("overfitting", "max_train_rouge2"),
    ("overfitting", "span_words"),
    ("overfitting", "template_words"),
    ("overfitting", "plot_cosine"),
    ("paper", "rouge2_precision"),
    ("paper", "max_other_rouge2"),
    ("paper", "max_train_rouge2"),
    ("paper", "max_train_rouge2_other"),
)
TEXT_FIRST = ("self_bleu", "repetition", "words", "misspellings")
"""The order of the charts of what stories are like by themselves; what other metrics there are comes behind."""
MANY = 4
"""From this many models on, the charts leave out the single stories."""


def page(report: EvalReport) -> str:
    """The whole HTML page. All text is escaped by the template; only the charts come in as markup."""
    completion_charts = [_chart(report, "memorisation", name) for name in COMPLETION_CHARTS]
    maximum_charts = [_chart(report, part, name) for part, name in MAXIMUM_CHARTS]
    text: str = _template().render(
        report=report,
        rows=[*report.models, report.real],
        summary=_summary(report),
        curves=_curves(report),
        baselines=_baselines(report),
        completion_charts=completion_charts,
        maximum_charts=maximum_charts,
        memorisation=any(chart["svg"] for chart in completion_charts + maximum_charts),
        told_any=any(model.stories or model.completions for model in report.models),
        text_charts=[_chart(report, "texts", name) for name in _text_names(report, of_each=True)],
        whole=_whole(report),
        ratings=_ratings(report),
        correlations=_correlations(report),
        comparisons=[c for c in report.comparisons if c.metric in dict(SUMMARY)],
        shown=[(model, _shown(report, model)) for model in report.models],
        prompts=_prompts(report.models),
        words=_neighbour_words(report.models),
        sweep=_sweep(report),
        config=json.dumps(report.config.model_dump(mode="json", exclude_defaults=True), indent=1),
        estimate=_estimate,
        title_of=_title(report),
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


def _title(report: EvalReport) -> Any:
    def title(metric: str) -> str:
        part, _, rest = metric.partition(".")
        split, _, name = rest.partition(".")
        known = report.info.get(name)
        return f"{known.title if known else name} ({part}, {split})"

    return title


def _summary(report: EvalReport) -> dict[str, Any]:
    columns = [(key, title) for key, title in SUMMARY if any(key in m.metrics for m in report.models)]
    titles = [title.format(context=report.config.context) for _, title in columns]
    info = [report.info.get(key.rpartition(".")[2]) for key, _ in columns]
    rows = [(m, [_estimate(m.metrics.get(key)) for key, _ in columns]) for m in [*report.models, report.real]]
    return {"titles": titles, "info": info, "rows": rows}


def _text_names(report: EvalReport, *, of_each: bool) -> list[str]:
    """The numbers of the part `texts`: those with a value for each story, or those with one for all."""
    rows = [*report.models, report.real]
    keys = dict.fromkeys(key for row in rows for key in row.metrics if key.startswith("texts.test."))
    each = {key for row in rows for key in row.values}
    names = [key.removeprefix("texts.test.") for key in keys if (key in each) == of_each]
    return sorted(names, key=lambda name: TEXT_FIRST.index(name) if name in TEXT_FIRST else len(TEXT_FIRST))


def _whole(report: EvalReport) -> list[tuple[str, list[str]]]:
    rows = []
    for name in _text_names(report, of_each=False):
        key = f"texts.test.{name}"
        found = [m.metrics.get(key) for m in [*report.models, report.real]]
        if any(found):
            info = report.info.get(name)
            rows.append((info.title if info else name, [_number(e.mean) if e else "–" for e in found]))
    return rows


def _prompts(models: Sequence[ModelReport]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Table → rows of (prompt, each model's completion)."""
    tables: dict[str, dict[str, list[str]]] = {}
    for i, model in enumerate(models):
        for answer in model.prompts:
            tables.setdefault(answer.table, {}).setdefault(answer.prompt, ["–"] * len(models))[i] = answer.completion
    return [(name, list(rows.items())) for name, rows in tables.items()]


def _neighbour_words(models: Sequence[ModelReport]) -> list[tuple[str, list[list[tuple[str, float]]]]]:
    words = list(dict.fromkeys(n.token for m in models for n in m.neighbours))
    return [(w, [[pair for n in m.neighbours if n.token == w for pair in n.nearest] for m in models]) for w in words]


def _shown(report: EvalReport, model: ModelReport) -> list[dict[str, Any]]:
    """Stories for the page: the nearest to a training story first, then evenly through the rest."""
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
    """The training story with the longest exact span, the span marked; empty where the closest one has that span too."""
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


def _chart(report: EvalReport, part: str, name: str) -> dict[str, Any]:
    rows, crowded = [], len(report.models) >= MANY
    for colour, model in enumerate(report.models):
        spots = []
        for split in ("train", "test"):
            key = f"{part}.{split}.{name}"
            e = model.metrics.get(key)
            if e is not None and e.mean is not None:
                values = () if crowded else tuple(v for v in model.values.get(key, ()) if v is not None)
                spots.append(Spot(e.mean, e.low, e.high, values, hollow=split == "train", label=split))
        rows.append(Row(model.name, colour, spots))
    info = report.info.get(name)
    title = info.title if info else name
    band = _band(report, [f"{part}.test.{name}", f"{part}.train.{name}"])
    label = (
        "grey: the end of another real story"
        if part == "memorisation" or name == "rouge2_precision"
        else "grey: real held-out stories"
    )
    svg = intervals(rows, band=band, band_label=label, title=title)
    return {"title": title, "svg": svg, "description": info.description if info else "", "part": part}


def _curves(report: EvalReport) -> str:
    made = []
    for colour, model in enumerate(report.models):
        train = [(float(p.tokens), p.train_loss) for p in model.curve if p.train_loss is not None]
        validation = [(float(p.tokens), p.validation_loss) for p in model.curve if p.validation_loss is not None]
        made.append(Line(f"{model.name}: training", colour, train, dashed=True))
        made.append(Line(f"{model.name}: validation", colour, validation))
    return lines(made, x_label="tokens seen", y_label="loss, nats per token", title="Loss curves")


def _baselines(report: EvalReport) -> str:
    """Bits per byte of the models above those of the n-gram models on the same ids."""
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
            loss = m.metrics.get("perplexity.test.bits_per_byte") or m.metrics.get("perplexity.test.loss")
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
