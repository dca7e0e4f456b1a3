"""Small charts as inline SVG, coloured by the page's CSS variables so that they follow light and dark mode.

Every label passes through `escape`. A chart is 360 units wide, so that its text stays readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360
LEFT, RIGHT, TOP, BOTTOM = 62, 10, 10, 38


@dataclass(frozen=True)
class Spot:
    """One estimate in a row: optional interval, the values of single stories behind it, hollow or filled."""

    mean: float
    low: float | None = None
    high: float | None = None
    values: Sequence[float] = ()
    hollow: bool = False
    label: str = ""


@dataclass(frozen=True)
class Row:
    """A row of an interval plot."""

    label: str
    colour: int
    spots: Sequence[Spot]


@dataclass(frozen=True)
class Line:
    """A curve."""

    label: str
    colour: int
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def intervals(
    rows: Sequence[Row], *, x_label: str, band: tuple[float, float, float] | None = None, band_label: str = "", title: str = ""
) -> str:
    """Rows of means with their intervals; `band` (low, mean, high) is drawn through all of them: the real stories."""
    rows = [row for row in rows if row.spots]
    if not rows:
        return ""
    numbers = [x for row in rows for s in row.spots for x in (s.mean, s.low, s.high, *s.values) if x is not None]
    x = _Axis([*numbers, *(band or ())], 12, WIDTH - 12)
    step, top = 40, 8
    floor = top + step * len(rows) + 4
    parts = [_open(floor + (54 if band else 36), title)]
    for tick in x.ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top}" y2="{floor}"/>')
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{floor + 14}" text-anchor="middle">{_number(tick)}</text>')
    parts.append(_centred(x_label, floor + 31))
    if band is not None:
        low, mean, high = (x(v) for v in band)
        parts.append(f'<rect class="band" x="{low:.1f}" y="{top}" width="{max(high - low, 1):.1f}" height="{floor - top}"/>')
        parts.append(f'<line class="real" x1="{mean:.1f}" x2="{mean:.1f}" y1="{top}" y2="{floor}"/>')
        parts.append(_centred(band_label, floor + 48))
    return "".join([*parts, *(_row(row, x, top + step * i) for i, row in enumerate(rows)), "</svg>"])


def _centred(text: str, y: float) -> str:
    return f'<text class="tick" x="{WIDTH / 2}" y="{y}" text-anchor="middle">{escape(_shortened(text, 50))}</text>'


def _row(row: Row, x: _Axis, top: float) -> str:
    parts = [f'<text class="row" x="12" y="{top + 11}">{escape(_shortened(row.label))}</text>']
    for k, spot in enumerate(row.spots):
        y = top + 22 + 9 * k
        colour = f'style="--c:var(--m{row.colour % 10})"'
        dots = "".join(f'<circle class="story" cx="{x(v):.1f}" cy="{y}" r="2"/>' for v in spot.values)
        whisker, kind = "", "hollow" if spot.hollow else "mean"
        tip = f"{row.label} {spot.label}: {_number(spot.mean)}"
        if spot.low is not None and spot.high is not None:
            whisker = f'<line class="whisker" x1="{x(spot.low):.1f}" x2="{x(spot.high):.1f}" y1="{y}" y2="{y}"/>'
            tip += f" [{_number(spot.low)}, {_number(spot.high)}]"
        parts.append(
            f'<g {colour}>{dots}{whisker}<circle class="{kind}" cx="{x(spot.mean):.1f}" cy="{y}" r="4.5">'
            f"<title>{escape(tip)}</title></circle></g>"
        )
    return "".join(parts)


def lines(curves: Sequence[Line], *, x_label: str, y_label: str, title: str = "") -> str:
    """Curves over a common axis; skips curves of one point."""
    curves = [curve for curve in curves if len(curve.points) > 1]
    if not curves:
        return ""
    height = 230
    x = _Axis([a for c in curves for a, _ in c.points], LEFT, WIDTH - RIGHT, whole=True)
    y = _Axis([b for c in curves for _, b in c.points], height - BOTTOM, TOP)
    parts = [_open(height, title), _frame(x, y, height, x_label, y_label)]
    for curve in curves:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in curve.points)
        dash = ' stroke-dasharray="7 4"' if curve.dashed else ""
        parts.append(
            f'<g style="--c:var(--m{curve.colour % 10})"><polyline class="curve" points="{path}"{dash}>'
            f"<title>{escape(curve.label)}</title></polyline></g>"
        )
    return "".join([*parts, "</svg>"])


def scatter(
    points: Sequence[tuple[float, float, str, str]], *, x_label: str, y_label: str, title: str = "", colours: Sequence[int] = ()
) -> str:
    """Points (x, y, class, tooltip); the class chooses the mark in the page's CSS."""
    if not points:
        return ""
    height = 250
    x = _Axis([p[0] for p in points], LEFT, WIDTH - RIGHT)
    y = _Axis([p[1] for p in points], height - BOTTOM, TOP)
    parts = [_open(height, title), _frame(x, y, height, x_label, y_label)]
    for i, (a, b, kind, tip) in enumerate(points):
        colour = colours[i] if i < len(colours) else 0
        parts.append(
            f'<g style="--c:var(--m{colour % 10})"><circle class="{escape(kind)}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="5">'
            f"<title>{escape(tip)}</title></circle></g>"
        )
    return "".join([*parts, "</svg>"])


class _Axis:
    """Data → units, with round ticks."""

    def __init__(self, numbers: Sequence[float], start: float, end: float, *, whole: bool = False) -> None:
        low, high = min(numbers), max(numbers)
        least = 0.0 if low >= 0 else -math.inf
        if low == high:
            low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
        margin = 0 if whole else (high - low) * 0.05
        self.low, self.high, self.start, self.end = max(low - margin, least), high + margin, start, end
        self.ticks = _ticks(self.low, self.high)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _frame(x: _Axis, y: _Axis, height: int, x_label: str, y_label: str) -> str:
    parts = []
    for tick in y.ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    parts += [
        f'<text class="tick" x="{x(tick):.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">{_number(tick)}</text>'
        for tick in x.ticks
    ]
    middle, centre = (LEFT + WIDTH - RIGHT) / 2, (TOP + height - BOTTOM) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{height - 3}" text-anchor="middle">{escape(x_label)}</text>')
    turned = f'text-anchor="middle" transform="rotate(-90 12 {centre})"'
    parts.append(f'<text class="tick" x="12" y="{centre}" {turned}>{escape(y_label)}</text>')
    return "".join(parts)


def _open(height: float, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'


def _number(value: float) -> str:
    if value and (abs(value) >= 1e6):
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 10_000:
        return f"{value / 1e3:.3g}k"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def _shortened(text: str, limit: int = 44) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
