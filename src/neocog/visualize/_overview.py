"""The picture of a whole network: volumes from left to right, in rows, over bands of one resolution each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise

from neocog.analysis.graph import Extent, Graph
from neocog.visualize import style
from neocog.visualize._layered import Box, lay_out
from neocog.visualize._routes import strokes
from neocog.visualize._svg import Canvas, text_width
from neocog.visualize._volumes import (
    LINE,
    SMALL,
    Scale,
    Volume,
    draw_labels,
    draw_volume,
    make_stub,
    make_volume,
    tooltip,
)

BAND_HEAD, BAND_EDGE, ROW_GAP, BRACKET = 24.0, 4.0, 30.0, 26.0


class Overview:
    """The picture of the whole, measured and ready to be drawn."""

    def __init__(self, graph: Graph, letters: dict[int, str], most_width: float) -> None:
        sides = [max(node.extent.sides) for node in graph.nodes if len(node.extent.sides) > 1]
        scale = Scale(max(sides, default=1), max(node.extent.channels for node in graph.nodes))
        self.volumes = [make_volume(node, scale, letters) for node in graph.nodes]
        self.rows = [_Row(graph, self.volumes, span) for span in _split(graph, self.volumes, most_width)]
        self.width = max(row.width for row in self.rows)
        self.height = sum(row.height for row in self.rows) + ROW_GAP * (len(self.rows) - 1)

    def draw(self, canvas: Canvas) -> None:
        """Draw all rows, the first at the origin, each joined to the next."""
        tops = [sum(row.height + ROW_GAP for row in self.rows[:number]) for number in range(len(self.rows))]
        for row, top in zip(self.rows, tops, strict=True):
            with canvas.moved(0, top):
                row.draw(canvas)
        for (row, top), (following, below) in pairwise(zip(self.rows, tops, strict=True)):
            if following.stubs:
                continue
            start, end = (row.end[0] + 2, top + row.end[1]), (following.start[0] - 3, below + following.start[1])
            right, left, level = row.width + 13.0, -13.0, below - ROW_GAP / 2
            way = [start, (right, start[1]), (right, level), (left, level), (left, end[1]), end]
            canvas.arrow(way, colour=style.MUTED)


class _Row:
    """One row of volumes; what it takes from earlier rows, other than from their very end, begins in a stub."""

    def __init__(self, graph: Graph, volumes: Sequence[Volume], span: range) -> None:
        entering = [(a, b) for a, b in graph.edges if a < span.start <= b < span.stop]
        before = sorted({a for a, _ in entering})
        self.stubs = [] if _is_clean(entering, span.start) else [make_stub(volumes[node]) for node in before]
        shift = len(self.stubs) - span.start
        self.volumes = [*self.stubs, *volumes[span.start : span.stop]]
        edges = [(a + shift, b + shift) for a, b in graph.edges if a in span and b in span]
        if self.stubs:
            edges = [(before.index(a), b + shift) for a, b in entering] + edges
        self.repeats = [(a + shift, b + shift, times) for a, b, times in graph.repeats if a in span]
        self.is_chain = sorted(edges) == list(pairwise(range(len(self.volumes))))
        self.tall = max(each.tall for each in self.volumes)
        lines = max(len(each.labels) for each in self.volumes)
        self.layout = lay_out([self._box(each, lines) for each in self.volumes], edges)
        self.top, self.left = (BAND_HEAD, BAND_EDGE) if self.is_chain else (0.0, 0.0)
        self.width = self.layout.height + 2 * self.left
        self.height = self.layout.width + self.top + (BRACKET if self.repeats else 0.0) + 8.0
        self.start, self.end = self._side(0, -1), self._side(len(self.volumes) - 1, 1)

    def _box(self, volume: Volume, lines: int) -> Box:
        """Return the room that a volume needs; in a chain the labels of all stand at one height.

        Rows of the layout go to the right here, so that its "left" is above, and its "up" is to the left.
        """
        if volume.is_sign:  # labelled to its right, since lines may come from above and below
            below = 16.0 + LINE * len(volume.labels)
            return Box(12.0, below, 17.0, volume.label_width + 20.0, 12.0, 12.0, 12.0, is_round=True)
        above = (self.tall if self.is_chain else volume.tall) / 2
        below = above + 14.0 + LINE * (lines if self.is_chain else len(volume.labels))
        wide = max(volume.width, volume.label_width) / 2 + 5.0
        side = volume.width / 2 + 2.0
        return Box(above, above if volume.is_stub else below, wide, wide, min(volume.high / 2, 12.0), side, side)

    def _at(self, node: int) -> tuple[float, float]:
        return self.layout.y[node] + self.left, self.layout.x[node] + self.top

    def _side(self, node: int, side: int) -> tuple[float, float]:
        """Return the middle of a volume's left side, or with 1 of its right side."""
        x, y = self._at(node)
        return (x + side * self.volumes[node].width / 2, y)

    def draw(self, canvas: Canvas) -> None:
        """Draw the bands behind, then arrows, volumes and labels."""
        if self.is_chain:
            self._draw_bands(canvas)
        for way in strokes(self.layout.routes):
            canvas.arrow([(y + self.left, x + self.top) for x, y in way], colour=style.MUTED)
        for x, y in self.layout.dots:
            canvas.circle(y + self.left, x + self.top, 2.2, fill=style.MUTED)
        for number, volume in enumerate(self.volumes):
            with canvas.group(tooltip(volume.node), "stub" if volume.is_stub else f"unit {volume.node.work}"):
                x, y = self._at(number)
                draw_volume(canvas, volume, x, y)
                draw_labels(canvas, volume, x, y, y + (self.tall if self.is_chain else volume.tall) / 2 + 4.0)
        for first, last, times in self.repeats:
            self._draw_bracket(canvas, first, last, times)

    def _draw_bands(self, canvas: Canvas) -> None:
        numbers = range(len(self.volumes))
        for word, run in groupby(numbers, key=lambda number: _band(self.volumes[number].node.extent)):
            first, *_, last = [*run] * 2
            left = self._at(first)[0] - self._half(first) - 5.0 - BAND_EDGE
            right = self._at(last)[0] + self._half(last) + 5.0 + BAND_EDGE
            canvas.rect(left, 0, right - left, self.height, fill="#f5f6f8", radius=6)
            fitting = (each for each in (word, word.partition(" ")[0]) if text_width(each, SMALL) < right - left)
            canvas.text((left + right) / 2, 16, next(fitting, ""), size=SMALL, fill=style.MUTED)

    def _half(self, node: int) -> float:
        """Return half the width of a volume or of its labels, whichever is wider."""
        return max(self.volumes[node].width, self.volumes[node].label_width) / 2

    def _draw_bracket(self, canvas: Canvas, first: int, last: int, times: int) -> None:
        left, right = self._at(first)[0] - self._half(first), self._at(last)[0] + self._half(last)
        y = self.height - BRACKET
        canvas.line([(left, y - 5), (left, y), (right, y), (right, y - 5)], colour=style.INK, width=1.2)
        canvas.text((left + right) / 2, y + 15.0, f"× {times}", size=12.0, fill=style.INK, bold=True)


def _split(graph: Graph, volumes: Sequence[Volume], most_width: float) -> list[range]:
    """Cut a network into rows, where one arrow leads from what is before to what comes after."""
    widths = [max(each.width, each.label_width) + 30.0 for each in volumes]
    count, total = len(volumes), sum(widths)
    if total <= most_width:
        return [range(count)]
    aim = total / -(-total // most_width)
    bands = [_band(each.node.extent) for each in volumes]
    crossing: list[list[tuple[int, int]]] = [[] for _ in range(count + 1)]
    for edge in graph.edges:
        for place in range(edge[0] + 1, edge[1] + 1):
            crossing[place].append(edge)
    inside = {place for first, last, _ in graph.repeats for place in range(first + 1, last + 1)}
    cuts = [place for place in range(1, count) if place not in inside]
    best: dict[int, tuple[float, int]] = {0: (0.0, 0)}  # by where a row ends: the cost up to there, where it begins
    ends = [0.0, *accumulate(widths)]
    for end in [*cuts, count]:
        costs: list[tuple[float, int]] = []
        for start in reversed(best):
            width = ends[end] - ends[start] + 90.0 * (start > 0 and not _is_clean(crossing[start], start))
            if costs and width > 2 * most_width:
                break
            uneven = max(0.0, width - aim) * 3.0 + abs(width - aim) + 20.0 * max(0.0, width - most_width)
            broken = 500.0 * (end < count and bands[end - 1] == bands[end])
            sources = {source for source, _ in crossing[end]}
            torn = 0.0 if end == count or _is_clean(crossing[end], end) else 300.0 * len(sources)
            costs.append((best[start][0] + uneven + broken + torn + 100.0, start))
        best[end] = min(costs)
    rows = []
    end = count
    while end > 0:
        start = best[end][1]
        rows.append(range(start, end))
        end = start
    return rows[::-1]


def _is_clean(crossing: Sequence[tuple[int, int]], place: int) -> bool:
    """Say whether one edge alone leads from before a place to it or beyond: that from the one before it to it."""
    return list(crossing) == [(place - 1, place)]


def _band(extent: Extent) -> str:
    """Return what volumes of one resolution have in common."""
    if len(extent.sides) > 1:
        return " × ".join(map(str, extent.sides))
    return f"{extent.sides[0]} tokens" if extent.sides else "vector"
