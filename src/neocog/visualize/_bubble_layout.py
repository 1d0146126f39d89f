"""Where everything of a bubble chart stands, computed once for the picture and for the page.

Lengths are in points in the picture and in the units of the drawing in the page; y grows downwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, log10, sqrt
from typing import TYPE_CHECKING

from neocog.visualize import style
from neocog.visualize._labels import Box, Circle, Label, Point, place_labels

if TYPE_CHECKING:
    from neocog.visualize.bubbles import Chart

WIDTH, HEIGHT = 720.0, 420.0
PLOT = Box(50, 8, 556, 380)
LEGEND_LEFT = 624.0
LARGEST, DOT = 22.0, 1.2  # radii of the largest bubble, and of the mark in the middle of each
FONT = 8.5

COLOURS = (style.BLUE, style.VERMILION, style.GREEN, "#CC79A7", "#E69F00", style.SKY)
OTHERS = "others"
FRONT_WORDS = "Pareto front"
HOLLOW_WORDS = "several crops"


@dataclass(frozen=True)
class Scale:
    """An axis: which numbers lie where.

    Attributes:
        low: the number at `start`.
        high: the number at `end`.
        start: a position.
        end: another.
        log: whether equal ratios, and not equal differences, are equally far apart.
        whole: whether only whole numbers are marked.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False

    @classmethod
    def around(
        cls, values: Sequence[float], start: float, end: float, pad: float, *, log: bool = False, whole: bool = False
    ) -> Scale:
        """Return a scale on which all `values` are at least `pad` away from both ends."""
        known = [log10(value) for value in values] if log else list(values)
        low, high = min(known), max(known)
        if high - low < 1e-9:
            low, high = low - (0.2 if log else 1), high + (0.2 if log else 1)
        margin = pad * (high - low) / (abs(end - start) - 2 * pad)
        low, high = low - margin, high + margin
        return cls(10**low, 10**high, start, end, True) if log else cls(low, high, start, end, False, whole)

    def __call__(self, value: float) -> float:
        """Return where a number lies."""
        if self.log:
            share = log10(value / self.low) / log10(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @cached_property
    def ticks(self) -> list[float]:
        """Round numbers along it, about four to eight."""
        if self.log and self.high / self.low > 4:
            for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
                found = [
                    round(mantissa * 10.0**exponent, 12)
                    for exponent in range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
                    for mantissa in mantissas
                    if self.low <= mantissa * 10.0**exponent <= self.high
                ]
                if len(found) >= 4:
                    return found
        power = 10.0 ** floor(log10(self.high - self.low))
        steps = [step for step in (2 * power, power, power / 2, power / 5, power / 10) if step >= 1 or not self.whole]
        found = []
        for step in steps or [1.0]:
            found = [round(n * step, 12) for n in range(ceil(self.low / step), floor(self.high / step) + 1)]
            if len(found) >= 4:
                break
        return found

    def text(self, value: float) -> str:
        """Return a number as it is written along the axis."""
        return f"{value:.0f}" if self.whole else _plainly(value)


@dataclass(frozen=True)
class Entry:
    """A line of the legend: words, and before them a bubble or, where it has no radius and is no heading, a line.

    Attributes:
        kind: "heading", "group", "size", "front" or "hollow".
        text: the words.
        y: of their middle.
        radius: of the bubble before them; 0 where there is none.
        colour: of that bubble.
    """

    kind: str
    text: str
    y: float
    radius: float = 0.0
    colour: str = style.MUTED

    @property
    def indent(self) -> float:
        """Where its words begin, from the left of the legend."""
        return {"heading": 0.0, "size": 2 * LARGEST + 6}.get(self.kind, 18.0)


@dataclass(frozen=True)
class Layout:
    """A bubble chart's drawing.

    Attributes:
        x: the scale across.
        y: the scale upwards.
        circles: one a bubble, in their order.
        colours: likewise.
        front: the line along the Pareto front, from its cheapest bubble to the edge of the plot.
        labels: the names that found room.
        opacity: of the bubbles' areas: less where they are many, so that those beneath are seen.
        legend: its entries, from the top.
    """

    x: Scale
    y: Scale
    circles: list[Circle]
    colours: list[str]
    front: list[Point]
    labels: list[Label]
    opacity: float
    legend: list[Entry]


def lay_out(chart: Chart) -> Layout:
    """Return where everything of a chart with at least one bubble stands."""
    bubbles = chart.bubbles
    pad = LARGEST + 5
    room = 1.5 * FONT  # for names above the best and below the worst
    x = Scale.around([b.x for b in bubbles], PLOT.left, PLOT.right, pad, log=chart.log, whole=chart.whole)
    y = Scale.around([b.y for b in bubbles], PLOT.bottom, PLOT.top, pad + room)
    largest = max(bubble.size for bubble in bubbles)
    circles = [Circle(x(b.x), y(b.y), LARGEST * sqrt(b.size / largest)) for b in bubbles]
    on_front = [place for place, bubble in enumerate(bubbles) if bubble.on_front]
    on_front.sort(key=lambda place: (circles[place].x * (-1 if chart.more_is_better else 1), -circles[place].y))
    front = _steps([circles[place] for place in on_front], PLOT.left if chart.more_is_better else PLOT.right)
    texts = [bubble.label for bubble in bubbles]
    bounds = Box(PLOT.left + 3, PLOT.top, LEGEND_LEFT - 5, PLOT.bottom - 2)
    labels = place_labels(circles, texts, on_front, front, bounds, FONT)
    counts = Counter(bubble.group for bubble in bubbles)
    colour = dict(zip([group for group, _ in counts.most_common(len(COLOURS))], COLOURS, strict=False))
    groups = list(colour.items()) + [(OTHERS, style.MUTED)] * (len(counts) > len(COLOURS))
    return Layout(
        x=x,
        y=y,
        circles=circles,
        colours=[colour.get(bubble.group, style.MUTED) for bubble in bubbles],
        front=front,
        labels=labels,
        opacity=0.45 if len(bubbles) <= 30 else 0.25,
        legend=_legend(chart, groups, largest),
    )


def _legend(chart: Chart, groups: Sequence[tuple[str, str]], largest: float) -> list[Entry]:
    y = PLOT.top + 8
    entries = []
    for name, colour in groups:
        entries.append(Entry("group", name, y, 5, colour))
        y += 15
    if any(bubble.on_front for bubble in chart.bubbles):
        entries.append(Entry("front", FRONT_WORDS, y + 8))
        y += 23
    if any(bubble.hollow for bubble in chart.bubbles):
        entries.append(Entry("hollow", HOLLOW_WORDS, y, 5))
        y += 15
    entries.append(Entry("heading", f"area: {chart.size_label}", y + 10))
    y += 18
    for size in _sizes(largest):
        radius = LARGEST * sqrt(size / largest)
        reach = max(radius, 5) + 3
        entries.append(Entry("size", _plainly(size), y + reach, radius))
        y += 2 * reach
    return entries


def rounded(value: float) -> str:
    """Return a number with three digits and its unit, such as "25.6M", "4.09G" or "312"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{_three(value / size)}{unit}"
    return _three(value)


def _three(value: float) -> str:
    exact = float(f"{value:.3g}")
    return f"{exact:.{max(0, 2 - floor(log10(exact)))}f}" if exact > 0 else f"{value:g}"


def _plainly(value: float) -> str:
    """Return a round number as it is written along an axis: "100M", "0.5"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.6g}{unit}"
    return f"{value:.6g}"


def _steps(circles: Sequence[Circle], edge: float) -> list[Point]:
    """Return the front as stairs: at each cost, the best that can be had for as much."""
    line: list[Point] = []
    for circle in circles:
        if line:
            line.append((circle.x, line[-1][1]))
        line.append((circle.x, circle.y))
    return [*line, (edge, line[-1][1])] if line else []


def _sizes(largest: float) -> list[float]:
    """Return three round amounts, the greatest at most `largest`."""
    found: list[float] = []
    for share in (1, 4, 20):
        power = 10.0 ** floor(log10(largest / share))
        found.append(next(m * power for m in (5, 2, 1) if m * power <= largest / share * 1.0001))
    return found
