"""A layered drawing of a directed graph: nodes in rows, branches side by side in columns, long edges as straight lines.

Nodes that follow each other stand in one column, so that a path through a network is a straight line; an edge that
skips rows gets a column of its own, from which it branches off wherever it is used. Rows go downwards here; a caller
who wants them to go to the right exchanges the two coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from neocog.visualize._columns import Columns, Edge
from neocog.visualize._routes import Point, Router, forks

COLUMN_GAP, LINE_GAP, ROW_GAP = 22.0, 12.0, 20.0
FIRST_LANE, LANE, OVERHANG = 9.0, 8.0, 14.0
SWEEPS = 60


@dataclass(frozen=True)
class Box:
    """The room that a node takes about its anchor, and its outline within that, to which edges lead.

    Attributes:
        left: room to the left of the anchor.
        right: to the right.
        up: above.
        down: below.
        half: half the outline's width.
        top: distance of the outline's upper edge from the anchor.
        bottom: of its lower edge.
        is_round: edges from beside reach it at its side, as they do at a sum.
        stretches: its outline may grow to reach over all that it joins or feeds.
    """

    left: float
    right: float
    up: float
    down: float
    half: float
    top: float
    bottom: float
    is_round: bool = False
    stretches: bool = False


@dataclass
class Layout:
    """Where everything is, the upper left corner being (0, 0).

    Attributes:
        x: of each node's anchor.
        y: likewise.
        outlines: of each node's outline, the left and the right end.
        routes: the points of each edge.
        dots: points at which a line forks.
        width: of the whole.
        height: of the whole.
    """

    x: list[float]
    y: list[float]
    outlines: list[tuple[float, float]]
    routes: dict[Edge, list[Point]]
    dots: list[Point]
    width: float
    height: float


def lay_out(boxes: Sequence[Box], edges: Sequence[Edge]) -> Layout:
    """Place nodes and edges.

    Args:
        boxes: of the nodes, in an order in which every edge goes forwards.
        edges: from node to node, each once.
    """
    grid = Columns([box.is_round for box in boxes], edges)
    across = _place(boxes, grid)
    outlines = _outlines(boxes, grid, across)
    router = Router(boxes, grid, across, outlines)
    centre, below = _heights(boxes, grid, router.counts)
    y = [centre[row] for row in grid.row]
    lane_y = {key: below[key[1]] + FIRST_LANE + LANE * lane for key, lane in router.lanes.items()}
    ways = {edge: router.way(edge, y, lane_y) for edge in grid.edges}
    x = [across[column] for column in grid.column]
    ends = [place for way in ways.values() for place, _ in way]
    ends += [place - box.left for place, box in zip(x, boxes, strict=True)]
    ends += [place + box.right for place, box in zip(x, boxes, strict=True)]
    ends += [end for outline in outlines for end in outline]
    shift = -min(ends)
    routes = {edge: [(place + shift, level) for place, level in way] for edge, way in ways.items()}
    return Layout(
        x=[place + shift for place in x],
        y=y,
        outlines=[(left + shift, right + shift) for left, right in outlines],
        routes=routes,
        dots=forks(routes),
        width=max(ends) + shift,
        height=below[-1],
    )


def _heights(boxes: Sequence[Box], grid: Columns, lanes: dict[int, int]) -> tuple[list[float], list[float]]:
    """Return the height of each row's anchors, and of its lower end, given how many lanes there are below each."""
    centre, below = [], []
    y = 0.0
    for row in range(max(grid.row) + 1):
        here = [box for box, its in zip(boxes, grid.row, strict=True) if its == row]
        y += max((box.up for box in here), default=0.0)
        centre.append(y)
        y += max((box.down for box in here), default=0.0)
        below.append(y)
        y += ROW_GAP + LANE * lanes.get(row, 0)
    return centre, below


def _place(boxes: Sequence[Box], grid: Columns) -> list[float]:
    """Return where each column stands: as close to those that it is joined to as the room allows."""
    order = sorted(range(len(grid.columns)), key=lambda column: grid.rank[column])
    before: dict[int, dict[int, float]] = {column: {} for column in order}
    after: dict[int, dict[int, float]] = {column: {} for column in order}
    for row in range(max(grid.row) + 1):
        here = [column for column in order if row in grid.columns[column].rows()]
        for one, other in pairwise(here):
            left, right = grid.columns[one].nodes.get(row), grid.columns[other].nodes.get(row)
            room = LINE_GAP if left is None and right is None else COLUMN_GAP
            room += 0.0 if left is None else boxes[left].right
            room += 0.0 if right is None else boxes[right].left
            after[one][other] = before[other][one] = max(after[one].get(other, 0.0), room)
    place = [0.0] * len(order)
    for column in order:
        place[column] = max((place[one] + room for one, room in before[column].items()), default=0.0)
    wishes = _wishes(grid)
    for sweep in range(SWEEPS):
        for column in order if sweep % 2 else reversed(order):
            if wishes[column]:
                wanted = _middle([place[other] for other in wishes[column]], grid.is_middle(column))
                low = max((place[one] + room for one, room in before[column].items()), default=-inf)
                high = min((place[other] - room for other, room in after[column].items()), default=inf)
                place[column] = max(low, min(high, wanted))
    return place


def _wishes(grid: Columns) -> list[list[int]]:
    """Return the columns that each column would stand close to; the others come to the longest."""
    wishes: list[list[int]] = [[] for _ in grid.columns]
    for edge in grid.edges:
        for one, other in pairwise(grid.passes(edge)):
            if one != other:
                wishes[one].append(other)
                wishes[other].append(one)
    if len(grid.columns[0].nodes) > 2:
        wishes[0] = []
    return wishes


def _middle(places: Sequence[float], of_ends: bool) -> float:
    """Return the median of places, or the middle between the first and the last."""
    ordered = sorted(places)
    half = len(ordered) // 2
    if of_ends:
        return (ordered[0] + ordered[-1]) / 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _outlines(boxes: Sequence[Box], grid: Columns, across: Sequence[float]) -> list[tuple[float, float]]:
    """Return the ends of each node's outline; one that stretches reaches over all that it joins, or else feeds."""
    outlines = []
    for node, box in enumerate(boxes):
        x = across[grid.column[node]]
        reached = [across[grid.passes((source, node))[-2]] for source in grid.sources[node]]
        fed = [across[grid.passes((node, target))[1]] for target in grid.targets[node]]
        alone = sum(grid.row[node] in column.rows() for column in grid.columns) == 1
        wide = [x - box.half, x + box.half]
        if box.stretches and alone and (len(reached) > 2 or grid.forks(node)):
            spread = reached if len(reached) > 2 else fed
            wide += [place + side * OVERHANG for place in spread for side in (-1, 1)]
        outlines.append((min(wide), max(wide)))
    return outlines
