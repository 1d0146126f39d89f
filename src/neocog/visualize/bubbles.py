"""Bubble charts: accuracy against cost, an area for the size, and the Pareto front."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neocog.visualize import style
from neocog.visualize._bubble_layout import (
    DOT,
    FONT,
    HEIGHT,
    LARGEST,
    LEGEND_LEFT,
    PLOT,
    WIDTH,
    Layout,
    lay_out,
    rounded,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
__all__ = ["Bubble", "Chart", "bubble_chart", "rounded"]


@dataclass(frozen=True, kw_only=True)
class Bubble:
    """One bubble.

    Attributes:
        label: what it is.
        group: what gives it its colour.
        x: where it stands across.
        y: where it stands upwards.
        size: in proportion to its area; more than 0.
        on_front: whether the Pareto front runs through it.
        hollow: drawn as an outline, because its `y` was not had on the same terms as that of the others.
        details: lines to read when it is pointed at.
    """

    label: str
    group: str
    x: float
    y: float
    size: float
    on_front: bool = False
    hollow: bool = False
    details: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a bubble chart shows.

    Attributes:
        title: the finding, in a sentence.
        bubbles: in any order.
        x_label: what lies across, with its unit.
        y_label: what lies upwards, with its unit.
        size_label: what the areas are.
        notes: sentences under the chart.
        log: whether the axis across is logarithmic.
        whole: whether it has whole numbers only, such as years.
        more_is_better: whether the front runs along the right, and not along the left.
    """

    title: str
    bubbles: tuple[Bubble, ...]
    x_label: str
    y_label: str
    size_label: str
    notes: tuple[str, ...] = ()
    log: bool = True
    whole: bool = False
    more_is_better: bool = False


def bubble_chart(chart: Chart, path: str | Path) -> Path:
    """Draw a chart to a file, whose suffix names the format; without bubbles, its title as a sentence.

    Names are put beside the bubbles of the front, and beside others where there is room.

    Returns:
        The path written.

    Raises:
        StorageError: the place cannot be written.
    """
    if not chart.bubbles:
        return style.message_figure(chart.title, path)
    layout = lay_out(chart)
    title = textwrap.wrap(chart.title, int(WIDTH / (style.TITLE * 0.6)))
    notes = [line for note in chart.notes for line in textwrap.wrap(note, int(WIDTH / (style.TICK * 0.53)))]
    above = 1.35 * style.TITLE * len(title) + 8
    below = 1.45 * style.TICK * len(notes) + 10
    height = above + HEIGHT + below
    figure = style.new_figure(WIDTH / 72, height / 72, constrained=False)
    place = (
        PLOT.left / WIDTH,
        1 - (above + PLOT.bottom) / height,
        (PLOT.right - PLOT.left) / WIDTH,
        (PLOT.bottom - PLOT.top) / height,
    )
    axes = figure.add_axes(place)
    _draw_axes(axes, chart, layout)
    _draw_bubbles(axes, chart, layout)
    # All else stands on a sheet over the whole figure, in the units of the layout.
    sheet = figure.add_axes((0, 0, 1, 1), frameon=False)
    sheet.set(xlim=(0, WIDTH), ylim=(height - above, -above), xticks=[], yticks=[])
    _draw_labels(sheet, chart, layout)
    _draw_legend(sheet, layout)
    figure.text(0, 1, "\n".join(title), va="top", fontsize=style.TITLE, fontweight="bold", color=style.INK)
    for number, line in enumerate(notes):
        y = 1 - (above + HEIGHT + 10 + 1.45 * style.TICK * number) / height
        figure.text(0, y, style.plain(line), va="top", fontsize=style.TICK, color=style.MUTED)
    return style.save(figure, path)


def _draw_axes(axes: Axes, chart: Chart, layout: Layout) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    if chart.log:
        axes.set_xscale("log")
    axes.set(xlim=(layout.x.low, layout.x.high), ylim=(layout.y.low, layout.y.high))
    axes.xaxis.set_major_locator(FixedLocator(layout.x.ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: layout.x.text(value))
    axes.yaxis.set_major_locator(FixedLocator(layout.y.ticks))
    axes.yaxis.set_major_formatter(lambda value, _: layout.y.text(value))
    style.dress(axes, x=chart.x_label, y=chart.y_label)


def _draw_bubbles(axes: Axes, chart: Chart, layout: Layout) -> None:
    if layout.front:
        across, up = zip(*layout.front, strict=True)
        axes.plot(
            [(x - PLOT.left) / (PLOT.right - PLOT.left) for x in across],
            [(PLOT.bottom - y) / (PLOT.bottom - PLOT.top) for y in up],
            transform=axes.transAxes,
            color=style.INK,
            linewidth=1.1,
            zorder=2,
        )
    from matplotlib.colors import to_rgba

    largest_first = sorted(range(len(chart.bubbles)), key=lambda place: -layout.circles[place].radius)
    for order, place in enumerate(largest_first):
        bubble, circle, colour = chart.bubbles[place], layout.circles[place], layout.colours[place]
        axes.scatter(
            bubble.x,
            bubble.y,
            s=(2 * circle.radius) ** 2,
            facecolors="none" if bubble.hollow else [to_rgba(colour, layout.opacity)],
            edgecolors=style.INK if bubble.on_front else colour,
            linewidths=1.2 if bubble.on_front else 0.8,
            linestyles=(0, (3, 2)) if bubble.hollow else "solid",
            zorder=3 + order / len(largest_first),
        )
        dot = style.INK if bubble.on_front else colour
        axes.scatter(bubble.x, bubble.y, s=(2 * DOT) ** 2, color=dot, linewidths=0, zorder=5)


def _draw_labels(sheet: Axes, chart: Chart, layout: Layout) -> None:
    for label in layout.labels:
        bubble = chart.bubbles[label.place]
        if label.leader:
            (x0, y0), (x1, y1) = label.leader
            sheet.plot([x0, x1], [y0, y1], color=style.MUTED, linewidth=0.6)
        box = label.box
        sheet.text(
            label.x,
            (box.top + box.bottom) / 2,
            style.plain(bubble.label),
            ha={"start": "left", "middle": "center", "end": "right"}[label.anchor],
            va="center_baseline",
            fontsize=FONT,
            fontweight="bold" if bubble.on_front else "normal",
            color=style.INK if bubble.on_front else style.MUTED,
        )


def _draw_legend(sheet: Axes, layout: Layout) -> None:
    from matplotlib.colors import to_rgba

    middle = LEGEND_LEFT + 6
    for entry in layout.legend:
        if entry.kind == "front":
            sheet.plot([LEGEND_LEFT, LEGEND_LEFT + 12], [entry.y, entry.y], color=style.INK, linewidth=1.1)
        elif entry.radius:
            sheet.scatter(
                LEGEND_LEFT + LARGEST if entry.kind == "size" else middle,
                entry.y,
                s=(2 * entry.radius) ** 2,
                facecolors=[to_rgba(entry.colour, layout.opacity)] if entry.kind == "group" else "none",
                edgecolors=entry.colour,
                linewidths=0.8,
                linestyles=(0, (3, 2)) if entry.kind == "hollow" else "solid",
            )
        x = LEGEND_LEFT + entry.indent
        sheet.text(x, entry.y, style.plain(entry.text), va="center_baseline", fontsize=FONT, color=style.INK)
