"""Charts as inline SVG: they scale with the page, take its colours, with a title and a description for screen readers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lipcert.report.markup import Content, Element, tag

WIDTH = 720.0
_LABEL = 200.0
_ROW = 30.0
_PLOT_HEIGHT = 260.0


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis from `low` to `high`, drawn from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    @classmethod
    def around(
        cls, values: Sequence[float], start: float, stop: float, *, log: bool = False, zero: bool = False
    ) -> Axis:
        """An axis with room for the values, from 0 where `zero` is set."""
        usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [1.0]
        low, high = (0.0 if zero and not log else min(usable)), max(usable)
        if log:
            low, high = low / 1.15, high * 1.15
        else:
            room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
            low, high = (low if zero else low - room), high + room
        return cls(low, high, start, stop, log)

    def at(self, value: float) -> float:
        """The place of a value."""
        if self.log:
            value = max(value, self.low)
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(self.start + (self.stop - self.start) * part, 2)

    def ticks(self) -> list[float]:
        """About six round values.

        Examples
        --------
        >>> Axis(0.0, 11.0, 0.0, 1.0).ticks(), Axis(0.5, 300.0, 0.0, 1.0, log=True).ticks()
        ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 10.0, 100.0])
        """
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            if last - first >= 1:
                return [10.0**k for k in range(first, last + 1, -(-(last - first) // 6))]
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 5.0))
        step *= next(unit for unit in (1.0, 2.0, 5.0, 10.0) if (self.high - self.low) / (step * unit) <= 6.0)
        lowest = math.ceil(self.low / step)
        return [
            float(f"{k * step:.10g}") for k in range(lowest, math.floor(self.high / step) + 1) if k > 0 or not self.log
        ]


@dataclass(frozen=True)
class Bar:
    """A labelled value with the text beside it; `kind` is the class of its colour."""

    label: str
    value: float
    text: str
    kind: str = "ours"


@dataclass(frozen=True)
class Line:
    """Points joined by a line; with `flat` a horizontal line at the first y."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str = "ours"
    flat: bool = False


@dataclass(frozen=True)
class Box:
    """Minimum, quartiles and maximum, five numbers, and a mark to compare with."""

    label: str
    quantiles: tuple[float, ...]
    mark: float | None = None


def bars(title: str, description: str, rows: Sequence[Bar], *, log: bool = False) -> Element:
    """Horizontal bars, on a logarithmic axis dots instead."""
    axis = Axis.around([row.value for row in rows], _LABEL, WIDTH - 110.0, log=log, zero=True)
    bottom = 8.0 + _ROW * len(rows)
    parts = _grid(axis, 4.0, bottom)
    for k, row in enumerate(rows):
        y = 8.0 + _ROW * k
        end = axis.at(row.value)
        if log:
            parts.append(tag("circle", cx=end, cy=y + 11, r=6, class_=row.kind))
        else:
            parts.append(tag("rect", x=axis.start, y=y, width=max(end - axis.start, 0.5), height=22, class_=row.kind))
        parts += [_label(row.label, y + 16), tag("text", row.text, x=end + 10, y=y + 16)]
    return _figure(title, description, bottom + 26, parts)


def lines(title: str, description: str, series: Sequence[Line], *, across: str, log: bool = False) -> Element:
    """Lines over a common axis, with a legend of those that have a label."""
    named = [line for line in series if line.label]
    xs = [x for line in series if not line.flat for x in line.x]
    ys = [y for line in series for y in line.y]
    top = 14.0 + 20.0 * -(-len(named) // 2)
    horizontal = Axis.around(xs, 70.0, WIDTH - 20.0)
    vertical = Axis.around(ys, top + _PLOT_HEIGHT, top, log=log)
    parts: list[Content] = []
    for tick in vertical.ticks():
        y = vertical.at(tick)
        parts.append(tag("line", x1=70, x2=WIDTH - 20, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", f"{tick:g}", x=62, y=y + 4, class_="end"))
    parts += _grid(horizontal, top, top + _PLOT_HEIGHT)
    parts.append(tag("text", across, x=(70 + WIDTH - 20) / 2, y=top + _PLOT_HEIGHT + 40, class_="middle"))
    for k, line in enumerate(named):
        x, y = 70.0 + 320.0 * (k % 2), 14.0 + 20.0 * (k // 2)
        parts.append(tag("line", x1=x, x2=x + 26, y1=y - 4, y2=y - 4, class_=f"line {line.kind}"))
        parts.append(tag("text", line.label, x=x + 34, y=y))
    for line in series:
        if line.flat:
            at = vertical.at(line.y[0])
            parts.append(tag("line", x1=70, x2=WIDTH - 20, y1=at, y2=at, class_=f"line {line.kind}"))
            continue
        points = [(horizontal.at(a), vertical.at(b)) for a, b in zip(line.x, line.y, strict=True)]
        parts.append(tag("polyline", points=" ".join(f"{a},{b}" for a, b in points), class_=f"line {line.kind}"))
        parts += [tag("circle", cx=a, cy=b, r=2.5, class_=line.kind) for a, b in points]
    return _figure(title, description, top + _PLOT_HEIGHT + 50, parts)


def boxes(title: str, description: str, rows: Sequence[Box], *, mark: str) -> Element:
    """A box a layer on a logarithmic axis: quartiles, whiskers to the extremes, a diamond for the mark."""
    values = [v for row in rows for v in row.quantiles] + [row.mark for row in rows if row.mark]
    axis = Axis.around(values, _LABEL, WIDTH - 30.0, log=True)
    bottom = 8.0 + _ROW * len(rows)
    parts = _grid(axis, 4.0, bottom)
    for k, row in enumerate(rows):
        y = 8.0 + _ROW * k
        low, first, median, third, high = map(axis.at, row.quantiles)
        parts.append(tag("line", x1=low, x2=high, y1=y + 11, y2=y + 11, class_="line ours"))
        parts.append(tag("rect", x=first, y=y + 2, width=max(third - first, 1.0), height=18, class_="ours"))
        parts.append(tag("line", x1=median, x2=median, y1=y, y2=y + 22, class_="line ink"))
        if row.mark:
            at = axis.at(row.mark)
            parts.append(tag("path", d=f"M{at - 6} {y + 11}l6 -7l6 7l-6 7z", class_="theirs"))
        parts.append(_label(row.label, y + 16))
    if any(row.mark for row in rows):
        parts.append(tag("path", d=f"M{_LABEL} {bottom + 37}l6 -7l6 7l-6 7z", class_="theirs"))
        parts.append(tag("text", mark, x=_LABEL + 20, y=bottom + 42))
    return _figure(title, description, bottom + 50, parts)


def pairs(
    title: str, description: str, rows: Sequence[tuple[str, float | None, float]], names: tuple[str, str]
) -> Element:
    """Two bars a row, the first of which may be missing, with a legend."""
    axis = Axis.around([v for row in rows for v in row[1:] if v is not None], _LABEL, WIDTH - 80.0, zero=True)
    bottom = 34.0 + 46.0 * len(rows)
    parts = _grid(axis, 28.0, bottom)
    for x, kind, name in ((_LABEL, "theirs", names[0]), (_LABEL + 250, "ours", names[1])):
        parts += [tag("rect", x=x, y=4, width=14, height=14, class_=kind), tag("text", name, x=x + 22, y=16)]
    for k, (label, first, second) in enumerate(rows):
        y = 34.0 + 46.0 * k
        for value, kind, shift in ((first, "theirs", 0.0), (second, "ours", 19.0)):
            if value is not None:
                end = axis.at(value)
                width = max(end - axis.start, 0.5)
                parts.append(tag("rect", x=axis.start, y=y + shift, width=width, height=17, class_=kind))
                parts.append(tag("text", f"{value:.4g}", x=end + 8, y=y + shift + 13))
        parts.append(_label(label, y + 23))
    return _figure(title, description, bottom + 26, parts)


def _grid(axis: Axis, top: float, bottom: float) -> list[Content]:
    parts: list[Content] = []
    for tick in axis.ticks():
        x = axis.at(tick)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", f"{tick:g}", x=x, y=bottom + 18, class_="middle"))
    return parts


def _label(text: str, y: float) -> Element:
    """A label to the left of the plot, its full text as a tooltip where it is too long."""
    short = text if len(text) <= 25 else f"{text[:12]}…{text[-12:]}"
    return tag("text", short, tag("title", text), x=_LABEL - 10, y=y, class_="end")


def _figure(title: str, description: str, height: float, parts: Sequence[Content]) -> Element:
    key = re.sub("[^a-z]+", "-", title.lower())
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", description, id=f"{key}-text"),
        *parts,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_labelledby=f"{key}-title {key}-text",
    )
