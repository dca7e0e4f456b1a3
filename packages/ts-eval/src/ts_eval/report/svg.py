"""Small charts as inline SVG, coloured by the page's CSS variables so that they follow light and dark mode.

`svg.html.j2` draws them and escapes every label. A chart is 360 units wide, so that its text stays readable on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .template import load_template

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

    def tip(self, row: str) -> str:
        """The tooltip: names, mean and interval."""
        interval = "" if self.low is None or self.high is None else f" [{_number(self.low)}, {_number(self.high)}]"
        return f"{row} {self.label}: {_number(self.mean)}{interval}"


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


@dataclass(frozen=True)
class Point:
    """A point with its tooltip; `kind` is the class that chooses the mark in the page's CSS."""

    x: float
    y: float
    kind: str
    tip: str
    colour: int = 0


def intervals(
    rows: Sequence[Row], *, x_label: str, band: tuple[float, float, float] | None = None, band_label: str = "", title: str = ""
) -> str:
    """Rows of means with their intervals; `band` (low, mean, high) is drawn through all of them: the real stories."""
    rows = [row for row in rows if row.spots]
    if not rows:
        return ""
    numbers = [x for row in rows for s in row.spots for x in (s.mean, s.low, s.high, *s.values) if x is not None]
    x = _Axis([*numbers, *(band or ())], 12, WIDTH - 12)
    return _draw("intervals", rows=rows, x=x, band=band, x_label=x_label, band_label=band_label, title=title)


def lines(curves: Sequence[Line], *, x_label: str, y_label: str, title: str = "") -> str:
    """Curves over a common axis; skips curves of one point."""
    curves = [curve for curve in curves if len(curve.points) > 1]
    places = [point for curve in curves for point in curve.points]
    return _plot(places, 230, whole=True, curves=curves, points=(), x_label=x_label, y_label=y_label, title=title)


def scatter(points: Sequence[Point], *, x_label: str, y_label: str, title: str = "") -> str:
    """Single points."""
    places = [(point.x, point.y) for point in points]
    return _plot(places, 250, curves=(), points=points, x_label=x_label, y_label=y_label, title=title)


def _plot(places: Sequence[tuple[float, float]], height: int, *, whole: bool = False, **content: Any) -> str:
    """Curves and points in a frame with two axes; `places` are all that it must show."""
    if not places:
        return ""
    x = _Axis([a for a, _ in places], LEFT, WIDTH - RIGHT, whole=whole)
    y = _Axis([b for _, b in places], height - BOTTOM, TOP)
    return _draw("plot", x=x, y=y, height=height, **content)


def _draw(macro: str, **content: Any) -> str:
    return str(getattr(load_template("report/svg.html.j2", n=_number).module, macro)(width=WIDTH, **content))


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


def _number(value: float) -> str:
    if value and (abs(value) >= 1e6):
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 10_000:
        return f"{value / 1e3:.3g}k"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
