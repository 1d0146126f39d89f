"""The layout of graphs: nothing overlaps, lines go down, and no line runs through a node."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest

from neocog.visualize._layered import Box, Layout, lay_out
from neocog.visualize._routes import strokes

PLAIN = Box(40, 40, 15, 15, 40, 15, 15)
ROUND = Box(12, 50, 12, 30, 11, 11, 11, is_round=True)
WIDE = Box(40, 40, 15, 15, 40, 15, 15, stretches=True)


def tangle(seed: int) -> tuple[list[Box], list[tuple[int, int]]]:
    """Return a random graph."""
    draw = random.Random(seed)
    boxes: list[Box] = []
    edges: set[tuple[int, int]] = set()
    for node in range(draw.randrange(2, 22)):
        boxes.append(draw.choice((PLAIN, PLAIN, ROUND, WIDE)))
        back = draw.choice((2, 4, node or 1))
        edges |= {(draw.randrange(max(0, node - back), node), node) for _ in range(draw.choice((1, 1, 2, 3))) if node}
    return boxes, sorted(edges)


def areas(layout: Layout, boxes: list[Box]) -> list[tuple[float, float, float, float]]:
    return [
        (min(x - box.left, outline[0]), y - box.up, max(x + box.right, outline[1]), y + box.down)
        for x, y, box, outline in zip(layout.x, layout.y, boxes, layout.outlines, strict=True)
    ]


@pytest.mark.parametrize("seed", range(60))
def test_nodes_keep_apart_and_lines_go_around_them(seed: int):
    boxes, edges = tangle(seed)
    layout = lay_out(boxes, edges)
    for one, other in combinations(areas(layout, boxes), 2):
        across, down = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
        assert across < 0.1 or down < 0.1
    assert set(layout.routes) == set(edges)
    for (start, end), way in layout.routes.items():
        assert way[0][1] == pytest.approx(layout.y[start] + boxes[start].bottom)
        for (x0, y0), (x1, y1) in pairwise(way):
            assert abs(x0 - x1) < 0.1 or abs(y0 - y1) < 0.1
            assert y1 > y0 - 0.1
            assert min(x0, x1) + 0.1 >= 0
            assert max(x0, x1) <= layout.width + 0.1
            for node, (box, outline) in enumerate(zip(boxes, layout.outlines, strict=True)):
                low, high = layout.y[node] - box.top, layout.y[node] + box.bottom
                beside = max(x0, x1) < outline[0] or min(x0, x1) > outline[1]
                assert node in (start, end) or beside or max(y0, y1) < low or min(y0, y1) > high


def test_a_chain_is_a_straight_line():
    layout = lay_out([PLAIN] * 5, list(pairwise(range(5))))
    assert len({round(x, 6) for x in layout.x}) == 1
    assert all(len(way) == 2 for way in layout.routes.values())
    assert layout.dots == []


def test_a_residual_skips_beside_the_straight_way():
    layout = lay_out([PLAIN, PLAIN, PLAIN, ROUND], [(0, 1), (1, 2), (2, 3), (0, 3)])
    assert len({round(x, 6) for x in layout.x}) == 1
    skip = layout.routes[0, 3]
    assert skip[-1][1] == layout.y[3]  # it comes from beside
    assert min(x for x, _ in skip) < layout.x[1] - PLAIN.left
    assert len(layout.dots) == 1


def test_branches_stand_in_their_order_below_what_feeds_them():
    layout = lay_out([WIDE, *[PLAIN] * 4, WIDE], [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (2, 5), (3, 5), (4, 5)])
    assert layout.x[1:5] == sorted(layout.x[1:5])
    assert len({layout.y[node] for node in range(1, 5)}) == 1
    assert all(len(way) == 2 for way in layout.routes.values())  # the two ends reach over all four
    assert layout.x[0] == layout.x[5] == pytest.approx((layout.x[1] + layout.x[4]) / 2)


def test_a_line_that_forks_is_drawn_once():
    layout = lay_out([PLAIN] * 4, [(0, 1), (1, 2), (2, 3), (0, 2), (0, 3)])
    ways = strokes(layout.routes)
    assert len(ways) == len(layout.routes)
    assert [way[-1] for way in ways] == [way[-1] for way in layout.routes.values()]
    drawn = sum(abs(a[0] - b[0]) + abs(a[1] - b[1]) for way in ways for a, b in pairwise(way))
    full = sum(abs(a[0] - b[0]) + abs(a[1] - b[1]) for way in layout.routes.values() for a, b in pairwise(way))
    assert drawn < full - 20
