"""Labels beside circles."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from math import hypot

import pytest

from neocog.visualize._labels import Box, Circle, _length_within, place_labels

BOUNDS = Box(0, 0, 600, 400)


def scattered(seed: int, count: int) -> list[Circle]:
    generator = random.Random(seed)
    return [
        Circle(generator.uniform(40, 560), generator.uniform(40, 360), generator.uniform(1, 22)) for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_labels_overlap_neither_each_other_nor_the_edge(seed: int) -> None:
    circles = scattered(seed, 30)
    labels = place_labels(circles, [f"network_{n:02d}" for n in range(30)], list(range(8)), [], BOUNDS, 8.5)
    assert {label.place for label in labels} >= set(range(8))
    assert len({label.place for label in labels}) == len(labels)
    assert not any(one.box.overlap(other.box) for one, other in combinations(labels, 2))
    for label in labels:
        assert BOUNDS.holds(label.box.left, label.box.top)
        assert BOUNDS.holds(label.box.right, label.box.bottom)


def test_all_circles_of_a_heap_are_labelled_where_they_must_be() -> None:
    circles = [Circle(300 + n % 3, 200 + n // 3, 10) for n in range(9)]
    labels = place_labels(circles, ["a_name_like_others"] * 9, list(range(9)), [], BOUNDS, 8.5)
    assert len(labels) == 9
    assert any(label.leader for label in labels)


def test_a_label_that_need_not_be_there_is_near_its_circle_and_covers_no_other() -> None:
    circles = scattered(0, 40)
    labels = place_labels(circles, ["a_name"] * 40, [], [], BOUNDS, 8.5)
    assert 10 < len(labels) <= 40
    for label in labels:
        for place, circle in enumerate(circles):
            aside = max(label.box.left - circle.x, 0, circle.x - label.box.right)
            apart = max(label.box.top - circle.y, 0, circle.y - label.box.bottom)
            away = hypot(aside, apart) - circle.radius
            assert away < 25 if place == label.place else away > -0.06 * circle.radius


@pytest.mark.parametrize("seed", range(10))
def test_the_clipped_length_of_a_line_is_what_sampling_finds(seed: int) -> None:
    generator = random.Random(seed)
    points = [(generator.uniform(0, 100), generator.uniform(0, 100)) for _ in range(4)]
    points.append((points[-1][0], generator.uniform(0, 100)))  # upright
    box = Box(30, 20, 70, 80)
    sampled = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        inside = sum(box.holds(x0 + (x1 - x0) * n / 4000, y0 + (y1 - y0) * n / 4000) for n in range(4000))
        sampled += hypot(x1 - x0, y1 - y0) * inside / 4000
    assert _length_within(points, box) == pytest.approx(sampled, abs=0.2)
