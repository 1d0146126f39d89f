"""A bubble chart as SVG for a page: bubbles are links to the rows of the table under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neocog.visualize._bubble_layout import DOT, HEIGHT, LARGEST, LEGEND_LEFT, PLOT, WIDTH, Layout
from neocog.visualize._html import text

if TYPE_CHECKING:
    from neocog.visualize.bubbles import Bubble, Chart

LEAST_REACH = 7.0  # the radius within which even the smallest bubble is met


def svg(chart: Chart, layout: Layout, anchors: Sequence[str]) -> str:
    """Return the drawing of a chart; `anchors` are the ids of what its bubbles link to."""
    return "\n".join(
        [
            f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="group" aria-label="{text(_spoken(chart))}">',
            _axes(chart, layout),
            _front(layout),
            f'<g fill-opacity="{layout.opacity:g}">',
            *(_bubble(place, chart, layout, anchors[place]) for place in _largest_first(layout)),
            "</g>",
            _names(chart, layout),
            _legend(layout),
            "</svg>",
        ]
    )


def _spoken(chart: Chart) -> str:
    return f"Bubble chart: {chart.y_label}, over {chart.x_label}; areas: {chart.size_label}. The table has its numbers."


def _largest_first(layout: Layout) -> list[int]:
    return sorted(range(len(layout.circles)), key=lambda place: -layout.circles[place].radius)


def _axes(chart: Chart, layout: Layout) -> str:
    parts = ['<g class="axis" aria-hidden="true">']
    for value in layout.x.ticks:
        x, words = layout.x(value), text(layout.x.text(value))
        parts.append(f'<line x1="{x:.2f}" x2="{x:.2f}" y1="{PLOT.top:g}" y2="{PLOT.bottom:g}"/>')
        parts.append(f'<text x="{x:.2f}" y="{PLOT.bottom + 13:g}" text-anchor="middle">{words}</text>')
    for value in layout.y.ticks:
        y, words = layout.y(value), text(layout.y.text(value))
        parts.append(f'<line x1="{PLOT.left:g}" x2="{PLOT.right:g}" y1="{y:.2f}" y2="{y:.2f}"/>')
        parts.append(f'<text x="{PLOT.left - 6:g}" y="{y + 3:.2f}" text-anchor="end">{words}</text>')
    corner = f'x1="{PLOT.left:g}" y1="{PLOT.bottom:g}"'
    parts.append(f'<line class="edge" {corner} x2="{PLOT.right:g}" y2="{PLOT.bottom:g}"/>')
    parts.append(f'<line class="edge" {corner} x2="{PLOT.left:g}" y2="{PLOT.top:g}"/>')
    middle = (PLOT.left + PLOT.right) / 2
    below = PLOT.bottom + 29
    parts.append(f'<text class="title" x="{middle:g}" y="{below:g}" text-anchor="middle">{text(chart.x_label)}</text>')
    height = (PLOT.top + PLOT.bottom) / 2
    turned = f'transform="translate(12 {height:g}) rotate(-90)"'
    parts.append(f'<text class="title" {turned} text-anchor="middle">{text(chart.y_label)}</text></g>')
    return "".join(parts)


def _front(layout: Layout) -> str:
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in layout.front)
    return f'<polyline class="front-line" points="{points}"/>' if points else ""


def _bubble(place: int, chart: Chart, layout: Layout, anchor: str) -> str:
    bubble, circle, colour = chart.bubbles[place], layout.circles[place], layout.colours[place]
    where = f'cx="{circle.x:.2f}" cy="{circle.y:.2f}"'
    return (
        f'<a class="{_classes(bubble)}" href="#{anchor}" aria-label="{text(". ".join(bubble.details))}">'
        f"<title>{text(chr(10).join(bubble.details))}</title>"
        f'<circle class="area" {where} r="{circle.radius:.2f}" fill="{colour}" stroke="{colour}"/>'
        f'<circle class="dot" {where} r="{DOT:g}" fill="{colour}"/>'
        f'<circle class="reach" {where} r="{max(circle.radius, LEAST_REACH):.2f}"/></a>'
    )


def _classes(bubble: Bubble) -> str:
    return " ".join(["bubble", *["front"] * bubble.on_front, *["hollow"] * bubble.hollow])


def _names(chart: Chart, layout: Layout) -> str:
    parts = ['<g class="names" aria-hidden="true">']
    for label in layout.labels:
        if label.leader:
            (x0, y0), (x1, y1) = label.leader
            parts.append(f'<line class="leader" x1="{x0:.2f}" y1="{y0:.2f}" x2="{x1:.2f}" y2="{y1:.2f}"/>')
        bubble, y = chart.bubbles[label.place], (label.box.top + label.box.bottom) / 2 + 3
        kind = ' class="front"' if bubble.on_front else ""
        where = f'x="{label.x:.2f}" y="{y:.2f}" text-anchor="{label.anchor}"'
        parts.append(f"<text{kind} {where}>{text(bubble.label)}</text>")
    return "".join(parts) + "</g>"


def _legend(layout: Layout) -> str:
    parts = [f'<g fill-opacity="{layout.opacity:g}">']
    for entry in layout.legend:
        x = LEGEND_LEFT + (LARGEST if entry.kind == "size" else 6)
        circle = f'<circle cx="{x:g}" cy="{entry.y:g}" r="{entry.radius:.2f}"'
        if entry.kind == "front":
            line = f'x1="{LEGEND_LEFT:g}" x2="{LEGEND_LEFT + 12:g}" y1="{entry.y:g}" y2="{entry.y:g}"'
            parts.append(f'<line class="front-line" {line}/>')
        elif entry.kind == "group":
            parts.append(f'{circle} class="area" fill="{entry.colour}" stroke="{entry.colour}"/>')
        elif entry.kind == "hollow":
            parts.append(f'{circle} class="sample" stroke-dasharray="3 2"/>')
        elif entry.kind == "size":
            parts.append(f'{circle} class="sample"/>')
        parts.append(f'<text x="{LEGEND_LEFT + entry.indent:g}" y="{entry.y + 3:g}">{text(entry.text)}</text>')
    return "".join(parts) + "</g>"
