"""Nodes of a layered drawing put into rows, into columns, and the columns into an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Edge = tuple[int, int]


@dataclass
class Column:
    """A vertical line of nodes and of the line that leaves its last node, or of a line alone.

    Attributes:
        nodes: by row.
        lines: rows that only a line passes through.
    """

    nodes: dict[int, int] = field(default_factory=dict)
    lines: set[int] = field(default_factory=set)

    def rows(self) -> set[int]:
        """Return all rows in which something of this column stands."""
        return self.lines | self.nodes.keys()


class Columns:
    """Where each node and each long edge goes, in rows and columns that have no coordinates yet.

    A node's row is the length of the longest way to it. The first column is the longest straight way.

    Attributes:
        edges: from node to node.
        sources: of each node.
        targets: of each node.
        row: of each node.
        columns: all of them.
        column: of each node.
        line: the column of the line that leaves a node, where one does.
        rank: the place of each column from left to right.
    """

    def __init__(self, is_round: Sequence[bool], edges: Sequence[Edge]) -> None:
        self.is_round = is_round
        count = len(is_round)
        self.edges = list(dict.fromkeys(edges))
        self.sources: list[list[int]] = [[] for _ in range(count)]
        self.targets: list[list[int]] = [[] for _ in range(count)]
        for start, end in self.edges:
            self.sources[end].append(start)
            self.targets[start].append(end)
        self.row = self._rows()
        self.columns: list[Column] = []
        self.column: list[int] = [-1] * count
        self.line: dict[int, int] = {}
        self._make_columns()
        self._make_lines()
        self.rank = self._order()

    def _rows(self) -> list[int]:
        row = [0] * len(self.sources)
        for node in range(len(row)):
            row[node] = max((row[source] + 1 for source in self.sources[node]), default=0)
        for node in reversed(range(len(row))):
            if not self.sources[node] and self.targets[node]:  # what comes from outside stands by what uses it
                row[node] = max(row[node], min(row[target] for target in self.targets[node]) - 1)
        return row

    def forks(self, node: int) -> bool:
        """Say whether several columns begin right below a node."""
        return sum(self.row[target] == self.row[node] + 1 for target in self.targets[node]) > 2

    def _gathers(self, node: int) -> bool:
        return sum(len(self.targets[source]) == 1 for source in self.sources[node]) > 2

    def _make_columns(self) -> None:
        free = set(range(len(self.row)))
        while free:
            length: dict[int, int] = {}
            following: dict[int, int] = {}
            for node in sorted(free, reverse=True):
                next_ones = [
                    target
                    for target in self.targets[node]
                    if target in free
                    and self.row[target] == self.row[node] + 1
                    and not self.forks(node)
                    and not self._gathers(target)
                ]
                best = max(next_ones, key=lambda target: length[target], default=None)
                length[node] = 1 + (length[best] if best is not None else 0)
                if best is not None:
                    following[node] = best
            node = max(sorted(free), key=lambda each: length[each])
            column = Column()
            while True:
                column.nodes[self.row[node]] = node
                self.column[node] = len(self.columns)
                free.discard(node)
                if node not in following:
                    break
                node = following[node]
            self.columns.append(column)

    def is_straight(self, start: int, end: int) -> bool:
        """Say whether an edge leads straight down, to the next node of its column."""
        return self.column[start] == self.column[end] and self.row[end] == self.row[start] + 1

    def _last_line_row(self, start: int, end: int) -> int:
        """Return the last row that the line of an edge passes through, beside the row of its start."""
        return self.row[end] if self.is_round[end] else self.row[end] - 1

    def _make_lines(self) -> None:
        for node in range(len(self.row)):
            ends = [self._last_line_row(node, end) for end in self.targets[node] if not self.is_straight(node, end)]
            last = max(ends, default=self.row[node])
            if last <= self.row[node]:
                continue
            own = self.columns[self.column[node]]
            wanted = set(range(self.row[node] + 1, last + 1))
            if max(own.nodes) == self.row[node] and not own.lines:
                own.lines = wanted
                self.line[node] = self.column[node]
            else:
                self.line[node] = len(self.columns)
                self.columns.append(Column(lines=wanted))

    def passes(self, edge: Edge) -> list[int]:
        """Return the columns that an edge runs through, from its start to its end."""
        start, end = edge
        way = [self.column[start]]
        if not self.is_straight(start, end) and self._last_line_row(start, end) > self.row[start]:
            way.append(self.line[start])
        way.append(self.column[end])
        return way

    def _order(self) -> list[int]:
        """Return each column's place from left to right, chosen for few crossings.

        One column after the other is tried at every place, and left where it does best.
        """
        count = len(self.columns)
        order = sorted(range(count), key=self._natural)
        natural = {column: place for place, column in enumerate(order)}
        middle = {column for column in order if self.is_middle(column)}
        weights = self._crossing_weights(middle)

        def change(left: int, right: int, rank: Sequence[int]) -> float:
            """Return what it costs more to have two neighbours the other way round."""
            total = 0.0
            for one, other, sign in ((left, right, 1), (right, left, -1)):
                for end, weight in weights[one]:
                    if end != other:
                        # What `one` steps over is no longer between it and what lies there, but is on its other side.
                        total += -weight[other] if (rank[end] > rank[other]) == (sign > 0) else weight[other]
            if left not in middle and right not in middle:
                total += 0.02 if natural[left] < natural[right] else -0.02
            return total

        for _ in range(6):
            improved = False
            for column in sorted(range(count), key=self._natural):
                start = order.index(column)
                best, best_place = 0.0, start
                for step in (-1, 1):
                    tried, cost, place = list(order), 0.0, start
                    rank = [0] * count
                    for number, each in enumerate(tried):
                        rank[each] = number
                    while 0 <= place + step < count:
                        left, right = sorted((place, place + step))
                        cost += change(tried[left], tried[right], rank)
                        tried[left], tried[right] = tried[right], tried[left]
                        rank[tried[left]], rank[tried[right]] = left, right
                        place += step
                        if cost < best - 1e-9:
                            best, best_place = cost, place
                if best_place != start:
                    order.insert(best_place, order.pop(start))
                    improved = True
            if not improved:
                break
        rank = [0] * count
        for place, column in enumerate(order):
            rank[column] = place
        return rank

    def _crossing_weights(self, middle: set[int]) -> list[list[tuple[int, list[float]]]]:
        """Return for each column its sideways steps: to which column, and what each column costs that it crosses."""
        rows = [column.rows() for column in self.columns]
        found: list[list[tuple[int, list[float]]]] = [[] for _ in self.columns]
        for one, other, row, beside in self._moves():
            weight = []
            for column, between in zip(self.columns, rows, strict=True):
                if beside:
                    weight.append(6.0 * (row in column.nodes) + 1.0 * (row in between))
                else:
                    passed = row in between and row + 1 in between and one not in middle and other not in middle
                    weight.append(1.0 * passed)
            found[one].append((other, weight))
            found[other].append((one, weight))
        return found

    def is_middle(self, column: int) -> bool:
        """Say whether a column belongs above or below others, and not to one side of them."""
        return any(self.forks(node) or self._gathers(node) for node in self.columns[column].nodes.values())

    def _natural(self, column: int) -> tuple[int, int]:
        nodes = self.columns[column].nodes
        return (1, min(nodes.values())) if nodes else (0, -min(self.columns[column].lines))

    def _moves(self) -> list[tuple[int, int, int, bool]]:
        """Return every sideways step of the edges: from column, to column, the row above it or the row it is in."""
        moves: dict[tuple[int, int, int, bool], None] = {}
        for start, end in self.edges:
            way = self.passes((start, end))
            if len(way) == 3 and way[0] != way[1]:
                moves[way[0], way[1], self.row[start], False] = None
            if way[-2] != way[-1]:
                beside = self.is_round[end]
                moves[way[-2], way[-1], self.row[end] if beside else self.row[end] - 1, beside] = None
        return list(moves)
