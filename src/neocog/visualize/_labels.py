"""Finding room for labels beside circles: near their own, over nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, hypot, radians, sin
from typing import Literal

import numpy as np

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

# Where y grows downwards, as on a screen: above to the left first, where nothing stands beyond a Pareto front.
_DIRECTIONS = (225, 270, 315, 180, 0, 135, 90, 45, 247, 203, 292, 157, 337, 23)
_DISTANCES = (2, 6, 11, 17, 24, 32, 42, 54, 68, 84, 102)
_NEAR = 6  # a label without a line to its circle is at most so far away
_AWAY = 24  # and one that need not be there
_SIDEWAYS = 0.38


@dataclass(frozen=True)
class Circle:
    """A bubble to label or to keep clear of."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Box:
    """A rectangle, y growing downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0) * max(height, 0)

    def grown(self, by: float) -> Box:
        """Return it larger by so much on each side."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def holds(self, x: float, y: float) -> bool:
        """Say whether a point lies in it."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom


@dataclass(frozen=True)
class Label:
    """A label that found room.

    Attributes:
        place: of its circle among those given.
        box: where it stands.
        anchor: at which of its box's sides its text begins: "start", "middle" or "end", as SVG has it.
        leader: from the circle to the label, where it stands so far away that a line must say whose it is.
    """

    place: int
    box: Box
    anchor: Anchor = "middle"
    leader: tuple[Point, Point] | None = None

    @property
    def x(self) -> float:
        """Where its text is anchored."""
        return {"start": self.box.left, "middle": (self.box.left + self.box.right) / 2, "end": self.box.right}[
            self.anchor
        ]


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return about how wide `text` is in a sans-serif font, rather more than less."""
    narrow, wide = "ijl.,:;'|!()[] ftr", "mwMW%@"
    width = sum(0.42 if char in narrow else 0.95 if char in wide else 0.64 for char in text)
    return size * width * (1.09 if bold else 1)


def place_labels(
    circles: Sequence[Circle],
    texts: Sequence[str],
    first: Sequence[int],
    line: Sequence[Point],
    bounds: Box,
    size: float,
) -> list[Label]:
    """Return labels that do not overlap each other.

    Args:
        circles: all that is drawn.
        texts: a label for each.
        first: places of the circles to label in bold, even where a line must lead there; the others are
            labelled where there is room near them.
        line: a polyline to keep clear of.
        bounds: what labels stay within.
        size: of the font.
    """
    drawn = _Drawn(circles, line, bounds)
    placed: dict[int, Label] = {}
    for _ in range(3):  # those placed first did not know of the others
        for place in first:
            placed.pop(place, None)
            candidates = _candidates(place, circles[place], text_width(texts[place], size, bold=True), size)
            found = _best(candidates, drawn, list(placed.values()))
            if found is not None:
                placed[place] = found
    for place in sorted(set(range(len(circles))).difference(first)):
        candidates = _candidates(place, circles[place], text_width(texts[place], size), size)
        found = _beside(candidates, drawn, list(placed.values()))
        if found is not None:
            placed[place] = found
    return [placed[place] for place in sorted(placed)]


class _Drawn:
    """What is drawn, and what of it a label would hide."""

    def __init__(self, circles: Sequence[Circle], line: Sequence[Point], bounds: Box) -> None:
        self.x = np.array([circle.x for circle in circles])
        self.y = np.array([circle.y for circle in circles])
        self.radius = np.array([circle.radius for circle in circles])
        self.line, self.bounds = line, bounds

    def has_room_for(self, box: Box) -> bool:
        """Say whether a box lies within the bounds."""
        return self.bounds.holds(box.left, box.top) and self.bounds.holds(box.right, box.bottom)

    def hidden(self, label: Label) -> float:
        """Return how much of other circles a label covers; their centres count most."""
        box = label.box
        aside = np.maximum(np.maximum(box.left - self.x, self.x - box.right), 0)
        apart = np.maximum(np.maximum(box.top - self.y, self.y - box.bottom), 0)
        away = np.hypot(aside, apart)
        cost = 2.5 * np.maximum(0.95 * self.radius - away, 0) + 40 * (away < 2)
        cost[label.place] = 0
        return float(cost.sum())

    def crossed(self, label: Label) -> float:
        """Return about how long a label's leader runs over other circles."""
        if label.leader is None:
            return 0.0
        (x0, y0), (x1, y1) = label.leader
        along = np.linspace(0, 1, 16)[:, None]
        over = np.hypot(x0 + along * (x1 - x0) - self.x, y0 + along * (y1 - y0) - self.y) < self.radius
        over[:, label.place] = False
        return float(over.mean(axis=0).sum() * hypot(x1 - x0, y1 - y0))


def _best(candidates: Iterable[tuple[Label, float, int]], drawn: _Drawn, placed: Sequence[Label]) -> Label | None:
    """Return the label that covers least and is nearest; None where there is room nowhere."""
    best, least = None, float("inf")
    for label, distance, rank in candidates:
        box, cost = label.box, 0.8 * distance + 0.3 * rank
        if cost >= least or not drawn.has_room_for(box) or _overlaps(box, placed):
            continue
        cost += drawn.hidden(label) + drawn.crossed(label) + 1.5 * _length_within(drawn.line, box.grown(1))
        if label.leader:
            cost += 6 + sum(4 * _length_within(label.leader, other.box) for other in placed)
        if cost < least:
            best, least = label, cost
    return best


def _beside(candidates: Iterable[tuple[Label, float, int]], drawn: _Drawn, placed: Sequence[Label]) -> Label | None:
    """Return the nearest label that covers nothing; None where there is no room for one near its circle."""
    lines = [drawn.line, *(label.leader for label in placed if label.leader)]
    for label, distance, _ in candidates:
        if distance > _AWAY:
            return None
        if (
            drawn.has_room_for(label.box)
            and not _overlaps(label.box, placed)
            and not any(_length_within(line, label.box.grown(1.5)) for line in lines)
            and not drawn.hidden(label)
            and not drawn.crossed(label)
            and not (label.leader and any(_length_within(label.leader, other.box) for other in placed))
        ):
            return label
    return None


def _overlaps(box: Box, placed: Sequence[Label]) -> bool:
    return any(box.grown(1.5).overlap(label.box) for label in placed)


def _candidates(place: int, circle: Circle, width: float, size: float) -> Iterator[tuple[Label, float, int]]:
    """Yield where a label might stand, with its distance from the circle and how much its direction is liked."""
    height = 1.05 * size
    for distance in _DISTANCES:
        for rank, direction in enumerate(_DIRECTIONS):
            across, down = cos(radians(direction)), sin(radians(direction))
            edge = circle.x + circle.radius * across, circle.y + circle.radius * down
            x, y = edge[0] + distance * across, edge[1] + distance * down
            anchor: Anchor = "start" if across > _SIDEWAYS else "end" if across < -_SIDEWAYS else "middle"
            left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            top = y if down > _SIDEWAYS else y - height if down < -_SIDEWAYS else y - height / 2
            box = Box(left, top, left + width, top + height)
            leader = (edge, (x, y)) if distance > _NEAR else None
            yield Label(place, box, anchor, leader), distance, rank


def _length_within(line: Sequence[Point], box: Box) -> float:
    """Return the length of the part of a polyline that lies in a box, by Liang and Barsky's clipping."""
    total = 0.0
    for (x0, y0), (x1, y1) in pairwise(line):
        start, end = 0.0, 1.0
        for step, room in (
            (x0 - x1, x0 - box.left),
            (x1 - x0, box.right - x0),
            (y0 - y1, y0 - box.top),
            (y1 - y0, box.bottom - y0),
        ):
            if step == 0:
                if room < 0:
                    end = -1.0
            elif step < 0:
                start = max(start, room / step)
            else:
                end = min(end, room / step)
        if end > start:
            total += (end - start) * hypot(x1 - x0, y1 - y0)
    return total
