"""Renders an EvalReport as HTML: prepares the verdict, the tables and the charts; `page.html.j2` holds the text and the style."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..metrics import all_info
from ..schemas import CATEGORIES, Estimate, EvalReport, MetricInfo, ModelReport, Story
from ..schemas.report import REFERENCE_STORIES
from .highlight import Piece, holds, side_by_side, with_exact
from .svg import Line, Point, Row, Spot, intervals, lines, scatter
from .template import Cell, Table, load_template

MANY = 4
"""From this number of models on, charts omit the single stories."""
ARROWS = {
    "higher": ("↑", "higher is better"),
    "lower": ("↓", "lower is better"),
    "like real": ("≈", "as in real stories"),
    "above chance": ("↑", "above the real row, which is chance"),
    "not above real": ("≤", "not above the real row, which is chance"),
}
"""`MetricInfo.better` → its mark in a table and what it means."""
Info = Mapping[str, MetricInfo]


def page(report: EvalReport) -> str:
    """The whole HTML page. The template escapes all text; only the charts are inserted as markup."""
    info = all_info()  # of this version, then of the others that the report describes itself
    info |= {name: metric for name, metric in report.info.items() if name not in info}
    text: str = load_template("report/page.html.j2", n=_number).render(
        report=report,
        summary=_summary(report, info),
        curves=_curves(report),
        baseline_chart=_baselines(report),
        baselines=_baseline_table(report),
        completion_charts=_charts(report, info, "memorisation"),
        maximum_charts=_charts(report, info, "overfitting") + _charts(report, info, "paper"),
        any_stories=any(model.stories or model.completions for model in report.models),
        text_charts=_charts(report, info, "texts"),
        whole=_whole(report, info),
        ratings=_ratings(report),
        correlations=_correlations(report),
        comparisons=_comparisons(report, info),
        shown=[(model, _shown(report, model)) for model in report.models],
        prompts=_prompts(report.models),
        words=_neighbour_words(report.models),
        sweep=_sweep(report),
        settings=_settings(report),
        arrows=ARROWS,
    )
    return text


# --- tables ------------------------------------------------------------------------------------


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1000 or (size >= 20 and float(value).is_integer()):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 20 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def _cell(e: Estimate | None) -> Cell:
    if e is None or e.mean is None:
        return Cell("–")
    interval = f"{_number(e.low)} – {_number(e.high)}" if e.low is not None and e.high is not None else ""
    return Cell(_number(e.mean), interval, "" if e.sd is None else f"SD {_number(e.sd)} over {e.n:,}")


def _heads(report: EvalReport) -> list[Cell]:
    """The names of the models, and of the real stories."""
    return [*(Cell(m.name, colour=i) for i, m in enumerate(report.models)), Cell(report.real.name)]


def _columns(report: EvalReport, info: Info) -> dict[str, MetricInfo]:
    """Key → metric, for the rows of the summary that some model has."""
    keys = {f"{metric.summary}.test.{name}": metric for name, metric in info.items() if metric.summary}
    return {key: metric for key, metric in keys.items() if any(key in model.metrics for model in report.models)}


def _summary(report: EvalReport, info: Info) -> Table:
    rows = []
    for key, metric in _columns(report, info).items():
        mark, meaning = ARROWS[metric.better]
        label = (metric.label or metric.title).format(context=report.config.context)
        unit = f"{metric.unit}, {meaning}" if metric.unit else meaning
        cells = [_cell(m.metrics.get(key)) for m in [*report.models, report.real]]
        rows.append([Cell(f"{label} {mark}", unit, metric.description), *cells])
    return Table("summary", [Cell("Metric"), *_heads(report)], rows)


def _baseline_table(report: EvalReport) -> Table:
    """The models, and below each the n-gram models on its tokens; last, the reference models."""
    names = ("loss", "perplexity", "bits_per_byte")
    rows = []
    for model in report.models:
        if "perplexity.test.loss" in model.metrics:
            rows.append([Cell(model.name), Cell(""), *(_cell(model.metrics.get(f"perplexity.test.{name}")) for name in names)])
        rows += [
            _baseline_row(b, f"tokens of {b.model}") for b in report.baselines if b.kind == "n-gram" and b.model == model.name
        ]
    rows += [_baseline_row(b, f"up to {REFERENCE_STORIES} stories") for b in report.baselines if b.kind == "model"]
    head = [Cell("Model"), Cell("On"), Cell("Loss ↓", "nats/token"), Cell("Perplexity ↓"), Cell("Bits per byte ↓")]
    return Table("loss", head, rows if report.baselines else [])


def _baseline_row(b: Any, on: str) -> list[Cell]:
    return [Cell(b.name), Cell(on), *(Cell(_number(x)) for x in (b.loss, b.perplexity, b.bits_per_byte))]


def _comparisons(report: EvalReport, info: Info) -> Table:
    columns = _columns(report, info)
    head = ["Metric", "From", "To", "Difference", "p (Holm)", "Settled", "More stories"]
    rows = [
        [
            Cell(f"{info[name].title if name in info else name} ({section}, {split})"),
            Cell(c.first),
            Cell(c.second),
            Cell(f"{c.difference:+.3f}", f"{c.low:+.3f} … {c.high:+.3f}"),
            Cell("< 0.001" if c.p_holm < 0.001 else f"{c.p_holm:.3f}"),
            Cell("yes" if c.resolved else "no"),
            Cell("–" if c.more_stories is None else f"{c.more_stories:,}"),
        ]
        for c in report.comparisons
        if c.metric in columns
        for section, split, name in [c.metric.split(".", 2)]
    ]
    return Table("differences", [Cell(text) for text in head], rows)


def _names(report: EvalReport, info: Info, section: str, *, per_story: bool) -> list[str]:
    """The metrics of a section: those with a value per story, or those with one for all; in the order of `info`."""
    rows = [*report.models, report.real]
    keys = dict.fromkeys(key for row in rows for key in row.metrics if key.startswith(f"{section}."))
    with_values = {key for row in rows for key in row.values}
    names = dict.fromkeys(key.split(".", 2)[2] for key in keys if (key in with_values) == per_story)
    order = {name: i for i, name in enumerate(info)}
    return sorted(names, key=lambda name: order.get(name, len(order)))


def _whole(report: EvalReport, info: Info) -> Table:
    """The metrics that have one number for all stories."""
    rows = []
    for name in _names(report, info, "texts", per_story=False):
        cells = [Cell(_cell(m.metrics.get(f"texts.test.{name}")).text) for m in [*report.models, report.real]]
        title = info[name].title if name in info else name
        rows.append([Cell(title, ARROWS[info[name].better][1] if name in info else ""), *cells])
    return Table("diversity", [Cell("Over all stories"), *_heads(report)], rows)


def _prompts(models: Sequence[ModelReport]) -> list[Table]:
    tables: dict[str, dict[str, list[str]]] = {}
    for i, model in enumerate(models):
        for answer in model.prompts:
            tables.setdefault(answer.table, {}).setdefault(answer.prompt, ["–"] * len(models))[i] = (
                f"{answer.completion} [{answer.grade}]" if answer.grade else answer.completion
            )
    head = [Cell("Prompt"), *(Cell(model.name) for model in models)]
    return [
        Table(name, head, [[Cell(prompt), *map(Cell, answers)] for prompt, answers in rows.items()], words=True)
        for name, rows in tables.items()
    ]


def _neighbour_words(models: Sequence[ModelReport]) -> Table:
    rows = []
    for word in dict.fromkeys(n.token for m in models for n in m.neighbours):
        lists = [
            [f"{token} {cosine:.2f}" for n in m.neighbours if n.token == word for token, cosine in n.nearest] for m in models
        ]
        rows.append([Cell(word), *(Cell(", ".join(found)) for found in lists)])
    return Table("neighbours", [Cell("Word"), *(Cell(model.name) for model in models)], rows, words=True)


def _settings(report: EvalReport) -> Table:
    """Every setting; those that differ from the default say so."""
    changed = report.config.model_dump(mode="json", exclude_defaults=True)
    rows = [
        [Cell(name), Cell(", ".join(map(str, value)) if isinstance(value, list) else str(value)), Cell("set" if name in changed else "default")]
        for name, value in report.config.model_dump(mode="json", exclude={"decoding"}).items()
    ]  # fmt: skip
    decoding = report.config.decoding.options()
    rows += [[Cell(f"decoding.{name}"), Cell(str(value)), Cell("set" if name in changed.get("decoding", {}) else "default")] for name, value in decoding.items()]  # fmt: skip
    return Table("settings", [Cell("Setting"), Cell("Value"), Cell("From")], rows, words=True)


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


def _band(estimates: Sequence[Estimate | None]) -> tuple[float, float, float] | None:
    """(low, mean, high) of the first estimate that has a mean."""
    e = next((e for e in estimates if e is not None and e.mean is not None), None)
    if e is None or e.mean is None:
        return None
    return (e.mean if e.low is None else e.low, e.mean, e.mean if e.high is None else e.high)


def _spots(e: Estimate | None) -> list[Spot]:
    """The estimate as a spot, if it has a mean."""
    return [] if e is None or e.mean is None else [Spot(e.mean, e.low, e.high)]


def _charts(report: EvalReport, info: Info, section: str) -> list[dict[str, Any]]:
    names = _names(report, info, section, per_story=True)
    made = [_chart(report, section, name, info.get(name)) for name in names if name not in info or info[name].chart]
    return [chart for chart in made if chart["svg"]]


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
    unit = title if info is None else f"{title} ({info.unit})" if info.unit else title
    band = _band([report.real.metrics.get(f"{section}.{split}.{name}") for split in ("test", "train")])
    svg = intervals(rows, x_label=unit, band=band, band_label=f"grey: {info.reference}" if info else "", title=title)
    return {"title": title, "svg": svg, "section": section, "note": ARROWS[info.better][1] if info else ""}


def _curves(report: EvalReport) -> list[str]:
    """Loss curves: in nats per token on one chart for one vocabulary, in bits per byte for several; a model that cannot be converted, and
    whose vocabulary is thus unknown, has a chart of its own."""
    numbered = [(colour, model) for colour, model in enumerate(report.models) if model.curve]
    together = [(colour, model) for colour, model in numbered if model.bits_scale is not None]
    to_bits = len({model.bits_scale for _, model in together}) > 1
    groups = [together, *([pair] for pair in numbered if pair not in together)]
    return [chart for group in groups if (chart := _curve_chart(group, to_bits=to_bits and group is together))]


def _curve_chart(models: Sequence[tuple[int, ModelReport]], *, to_bits: bool) -> str:
    made = []
    for colour, model in models:
        scale = _to_bits(model.bits_scale) if to_bits and model.bits_scale else float
        train = [(float(p.tokens), scale(p.train_loss)) for p in model.curve if p.train_loss is not None]
        validation = [(float(p.tokens), scale(p.validation_loss)) for p in model.curve if p.validation_loss is not None]
        made.append(Line(f"{model.name}: training", colour, train, dashed=True))
        made.append(Line(f"{model.name}: validation", colour, validation))
    unit = "bits per byte" if to_bits else "loss, nats per token"
    return lines(made, x_label="tokens seen", y_label=unit, title="Loss curves")


def _to_bits(scale: tuple[float, float]) -> Callable[[float], float]:
    """Nats per token → bits per byte, with the tokens per byte and the other bits of the held-out stories."""
    return lambda loss: loss / 0.6931471805599453 * scale[0] + scale[1]


def _baselines(report: EvalReport) -> str:
    """Bits per byte of the models, followed by the n-gram models on the same ids and the reference models."""
    rows = [Row(model.name, colour, _spots(model.held_out_loss)) for colour, model in enumerate(report.models)]
    rows += [Row(b.label, 9, [Spot(b.bits_per_byte, hollow=True)]) for b in report.baselines if b.bits_per_byte is not None]
    return intervals(rows, x_label="bits per byte", title="Bits per byte")


def _ratings(report: EvalReport) -> list[dict[str, str]]:
    made = []
    for category in ("overall", *CATEGORIES):
        rows = [Row(m.name, i, _spots(m.ratings.get(category))) for i, m in enumerate(report.models)]
        band = _band([report.real.ratings.get(category)])
        label = "grey: real held-out stories" if band else ""
        svg = intervals(rows, x_label="rating, 1 to 10", band=band, band_label=label, title=category)
        made += [{"title": category.capitalize(), "svg": svg}] if svg else []
    return made


def _correlations(report: EvalReport) -> list[dict[str, Any]]:
    made = []
    for c in report.correlations:
        points = []
        for i, m in enumerate(report.models):
            loss = m.held_out_loss
            rating = m.ratings.get(c.rating)
            if loss is not None and rating is not None and loss.mean is not None and rating.mean is not None:
                points.append(Point(loss.mean, rating.mean, "mean", f"{m.name}: {loss.mean:.3f}, {rating.mean:.2f}", i))
        text = c.note
        if c.spearman is not None:
            text = f"Spearman {c.spearman:.2f}"
            if c.low is not None and c.high is not None:
                text += f" [{c.low:.2f}, {c.high:.2f}] over {c.models} models"
        svg = scatter(points, x_label="bits per byte", y_label="rating", title=c.rating)
        made.append({"title": c.rating.capitalize(), "svg": svg, "text": text, "known": c.spearman is not None})
    return made


def _sweep(report: EvalReport) -> str:
    """Quality against diversity; the front filled, the winner ringed, real stories in grey."""
    if report.sweep is None:
        return ""
    sweep = report.sweep
    points = [
        Point(p.diversity, p.quality, "winner" if p.winner else "mean" if p.on_front else "off", f"{p.options}: quality {p.quality:.3f}, diversity {p.diversity:.3f}")
        for p in sweep.points
    ]  # fmt: skip
    if sweep.real_quality is not None:
        points.append(Point(sweep.real_diversity, sweep.real_quality, "real-point", "real held-out stories"))
    return scatter(points, x_label="diversity (1 - self-BLEU)", y_label=f"quality ({sweep.quality})", title="Decoding sweep")
