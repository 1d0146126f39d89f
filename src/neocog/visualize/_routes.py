"""The ways of the edges in a layered drawing: down their columns, and sideways in lanes between two rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from neocog.visualize._columns import Columns, Edge

if TYPE_CHECKING:
    from neocog.visualize._layered import Box

Point = tuple[float, float]


class Router:
    """Finds the ways of edges between nodes whose place across is known.

    Attributes:
        ports: where each edge that comes from above reaches its end.
        lanes: of each sideways step, by the node that it comes from and the row that it is below.
        counts: how many lanes there are below each row.
    """

    def __init__(
        self, boxes: Sequence[Box], columns: Columns, x: Sequence[float], outlines: Sequence[tuple[float, float]]
    ) -> None:
        self.boxes, self.grid, self.x, self.outlines = boxes, columns, x, outlines
        self.ports = self._ports()
        self.lanes, self.counts = self._lanes()

    def way(self, edge: Edge, y: Sequence[float], lane_y: dict[tuple[int, int], float]) -> list[Point]:
        """Return the points of an edge, given the height of each node's anchor and of each lane."""
        start, end = edge
        x = self._exit(edge)
        way: list[Point] = [(x, y[start] + self.boxes[start].bottom)]
        for row, from_x, to_x in self._steps(edge):
            level = lane_y[start, row]
            way += [(from_x, level), (to_x, level)]
            x = to_x
        box = self.boxes[end]
        if edge in self.ports:
            way.append((x, y[end] - box.top))
        else:
            centre = self.x[self.grid.column[end]]
            beside = [e for e in self.grid.edges if e[1] == end and e not in self.ports]
            same = [e for e in beside if (self.x[self.grid.passes(e)[-2]] < centre) == (x < centre)]
            same.sort(key=lambda e: abs(self.x[self.grid.passes(e)[-2]] - centre))
            level = y[end] + 7.0 * (same.index(edge) - (len(same) - 1) / 2)
            reach = max(box.half**2 - (level - y[end]) ** 2, 1.0) ** 0.5
            way += [(x, level), (centre - reach if x < centre else centre + reach, level)]
        return _simplified(way)

    def _enters_beside(self, edge: Edge) -> bool:
        """Say whether an edge reaches a round node at its side: nothing else stands between."""
        start, end = edge
        if not self.boxes[end].is_round or self.grid.is_straight(start, end):
            return False
        low, high = sorted((self.grid.rank[self.grid.passes(edge)[-2]], self.grid.rank[self.grid.column[end]]))
        between = (c for c, rank in enumerate(self.grid.rank) if low < rank < high)
        return low != high and not any(self.grid.row[end] in self.grid.columns[column].nodes for column in between)

    def _exit(self, edge: Edge) -> float:
        """Return where an edge leaves its start."""
        start = edge[0]
        left, right = self.outlines[start]
        first = self.x[self.grid.passes(edge)[1]]
        if right - left > 2 * self.boxes[start].half + 1 and left <= first <= right:
            return first
        return self.x[self.grid.column[start]]

    def _ports(self) -> dict[Edge, float]:
        """Return where each edge that comes from above reaches its end."""
        ports: dict[Edge, float] = {}
        for end in range(len(self.boxes)):
            edges = [(start, end) for start in self.grid.sources[end] if not self._enters_beside((start, end))]
            left, right = self.outlines[end]
            margin = min(10.0, (right - left) / 2)
            wanted = []
            for edge in edges:
                way = self.grid.passes(edge)
                from_x = self.x[way[-2]] if len(way) > 2 else self._exit(edge)
                port = max(left + margin, min(right - margin, from_x))
                if len(edges) == 1 and not left <= from_x <= right:
                    port = (left + right) / 2
                wanted.append((port, self.x[way[-2]], edge))
            wanted.sort()
            room = min(12.0, (right - left - 2 * margin) / max(1, len(wanted) - 1)) if len(wanted) > 1 else 0.0
            fixed = [edge for _, _, edge in wanted if self.grid.is_straight(*edge)]
            ports.update(_spread(wanted, room, left + margin, right - margin, fixed))
        return ports

    def _lanes(self) -> tuple[dict[tuple[int, int], int], dict[int, int]]:
        """Return a lane for each sideways step, by node that it comes from and row that it is below."""
        spans: dict[tuple[int, int], tuple[set[float], set[float]]] = {}  # where it comes from above, and goes to below
        for edge in self.grid.edges:
            for row, from_x, to_x in self._steps(edge):
                incoming, outgoing = spans.setdefault((edge[0], row), (set(), set()))
                incoming.add(from_x)
                outgoing.add(to_x)
        lanes: dict[tuple[int, int], int] = {}
        counts: dict[int, int] = {}
        for row in sorted({key[1] for key in spans}):
            keys = [key for key in sorted(spans) if key[1] == row]
            ordered = _least_crossings(keys, spans)
            ends: list[tuple[int, float, float]] = []
            for key in ordered:
                low, high = min(*spans[key][0], *spans[key][1]), max(*spans[key][0], *spans[key][1])
                above = [lane for lane, left, right in ends if left - 6 < high and low < right + 6]
                lanes[key] = max(above, default=-1) + 1
                ends.append((lanes[key], low, high))
            counts[row] = max(lane for key, lane in lanes.items() if key[1] == row) + 1
        return lanes, counts

    def _steps(self, edge: Edge) -> list[tuple[int, float, float]]:
        """Return the sideways steps of an edge between rows: the row above, from where, to where."""
        start, end = edge
        way = self.grid.passes(edge)
        here, steps = self._exit(edge), []
        if len(way) == 3 and abs(self.x[way[1]] - here) > 0.5:
            steps.append((self.grid.row[start], here, self.x[way[1]]))
            here = self.x[way[1]]
        if edge in self.ports and abs(self.ports[edge] - here) > 0.5:
            steps.append((self.grid.row[end] - 1, here, self.ports[edge]))
        return steps


def _spread(
    wanted: Sequence[tuple[float, float, Edge]], room: float, low: float, high: float, fixed: Sequence[Edge]
) -> dict[Edge, float]:
    """Return ports about `room` apart, close to where they are wanted; one of those in `fixed` stays."""
    places = [place for place, _, _ in wanted]
    anchor = next((number for number, (_, _, edge) in enumerate(wanted) if edge in fixed), None)
    sides = [(0, len(places), low, high)]
    if anchor is not None:
        middle = places[anchor]
        sides = [(0, anchor, low, middle - room), (anchor + 1, len(places), middle + room, high)]
    for first, end, left, right in sides:
        count = end - first
        step = min(room, max(0.0, right - left) / max(1, count - 1))
        for number in range(first, end):
            least = left + step * (number - first)
            if number > first:
                least = max(least, places[number - 1] + step)
            most = right - step * (end - 1 - number)
            places[number] = min(max(places[number], least), most)
    return {edge: place for place, (_, _, edge) in zip(places, wanted, strict=True)}


def _least_crossings(
    keys: Sequence[tuple[int, int]], spans: dict[tuple[int, int], tuple[set[float], set[float]]]
) -> list[tuple[int, int]]:
    """Return sideways steps from the highest lane to the lowest, so that few lines cross and none lie on each other."""

    def cost(upper: tuple[int, int], lower: tuple[int, int]) -> float:
        def within(x: float, key: tuple[int, int]) -> bool:
            ends = spans[key][0] | spans[key][1]
            return min(ends) < x < max(ends)

        falls = sum(within(x, lower) for x in spans[upper][1])
        rises = sum(within(x, upper) for x in spans[lower][0])
        covers = sum(abs(a - b) < 4 for a in spans[upper][1] for b in spans[lower][0])
        return falls + rises + 10.0 * covers

    ordered: list[tuple[int, int]] = []
    for key in keys:
        costs = [
            sum(cost(each, key) for each in ordered[:place]) + sum(cost(key, each) for each in ordered[place:])
            for place in range(len(ordered) + 1)
        ]
        ordered.insert(costs.index(min(costs)), key)
    return ordered


def _simplified(way: Sequence[Point]) -> list[Point]:
    """Return a way without points that it passes straight through."""
    kept = [way[0]]
    for point, following in zip(way[1:], [*way[2:], None], strict=True):
        if abs(point[0] - kept[-1][0]) < 0.05 and abs(point[1] - kept[-1][1]) < 0.05 and following is not None:
            continue
        if following is not None and len({kept[-1][0], point[0], following[0]}) == 1:
            continue
        if following is not None and len({kept[-1][1], point[1], following[1]}) == 1:
            continue
        kept.append(point)
    return kept


def strokes(routes: dict[Edge, list[Point]]) -> list[list[Point]]:
    """Return the ways of edges without what an earlier way from the same node has drawn already."""
    drawn: dict[int, list[tuple[Point, Point]]] = {}
    ways = []
    for (start, _), way in routes.items():
        known = drawn.setdefault(start, [])
        point, rest = way[0], way[1:]
        while True:
            reached = max((_covered(point, rest[0], each) for each in known), default=0.0)
            length = abs(rest[0][0] - point[0]) + abs(rest[0][1] - point[1])
            if reached >= length - 0.1 and len(rest) > 1:
                point, rest = rest[0], rest[1:]
                continue
            if length > 0 and reached > 0:
                share = max(0.0, reached - 7.0) / length  # the earlier way may leave in a curve just before
                point = (point[0] + share * (rest[0][0] - point[0]), point[1] + share * (rest[0][1] - point[1]))
            break
        ways.append([point, *rest])
        known += pairwise(way)
    return ways


def _covered(start: Point, end: Point, drawn: tuple[Point, Point]) -> float:
    """Return how far on its way from `start` to `end` a line runs along one that is drawn."""
    axis = 0 if abs(start[1] - end[1]) < 0.05 else 1
    across = 1 - axis
    if abs(drawn[0][across] - start[across]) > 0.05 or abs(drawn[1][across] - start[across]) > 0.05:
        return 0.0
    low, high = sorted((drawn[0][axis], drawn[1][axis]))
    if not low - 0.05 <= start[axis] <= high + 0.05:
        return 0.0
    return min(abs(end[axis] - start[axis]), high - start[axis] if end[axis] > start[axis] else start[axis] - low)


def forks(routes: dict[Edge, list[Point]]) -> list[Point]:
    """Return the points at which ways from one node part."""
    dots: dict[Point, None] = {}
    for start in dict.fromkeys(edge[0] for edge in routes):
        ways = [way for edge, way in routes.items() if edge[0] == start]
        for way in ways:
            for corner in way[1:-1]:
                for other in ways:
                    if other is not way and any(_inside(corner, a, b) for a, b in pairwise(other)):
                        dots[corner] = None
    return list(dots)


def _inside(point: Point, start: Point, end: Point) -> bool:
    """Say whether a point lies on a segment, away from its ends."""
    (x, y), (x0, y0), (x1, y1) = point, start, end
    if abs(x0 - x1) < 0.05:
        return abs(x - x0) < 0.05 and min(y0, y1) + 1 < y < max(y0, y1) - 1
    return abs(y - y0) < 0.05 and min(x0, x1) + 1 < x < max(x0, x1) - 1
