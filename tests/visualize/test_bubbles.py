"""Bubble charts, as pictures and as pages."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from figure_pixels import near, pixels

from neocog.visualize import style
from neocog.visualize._bubble_layout import OTHERS, PLOT, Scale, lay_out
from neocog.visualize.bubble_page import Column, Page, write_bubble_page
from neocog.visualize.bubbles import Bubble, Chart, bubble_chart, rounded

SVG = "{http://www.w3.org/2000/svg}"


def chart(*, count: int = 6, **changes: object) -> Chart:
    bubbles = tuple(
        Bubble(
            label=f"net{n}",
            group="even" if n % 2 == 0 else "odd",
            x=1e8 * 3**n,
            y=60 + 3.0 * n,
            size=1e6 * (n + 1),
            on_front=n < 4,
            hollow=n == 5,
            details=(f"net{n}", f"{60 + 3 * n} %"),
        )
        for n in range(count)
    )
    whole = Chart(title="The finding", bubbles=bubbles, x_label="MACs", y_label="top-1, %", size_label="parameters")
    return replace(whole, **changes)  # type: ignore[arg-type]


def page(shown: Chart, *, rows: int | None = None) -> Page:
    count = len(shown.bubbles) if rows is None else rows
    return Page(
        heading="compared",
        chart=shown,
        columns=(Column("network"), Column("top-1", numeric=True)),
        rows=tuple(((f"row {n}", f"row {n}"), (str(n), n)) for n in range(count)),
        bubbles=tuple(n if n < len(shown.bubbles) else None for n in range(count)),
    )


def drawing(html: str) -> ElementTree.Element:
    """The page's SVG, which must be well-formed."""
    found = re.search(r"<svg.*</svg>", html, re.S)
    assert found
    return ElementTree.fromstring(found[0].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def test_areas_are_in_proportion() -> None:
    circles = lay_out(chart()).circles
    for n, circle in enumerate(circles):
        assert (circle.radius / circles[0].radius) ** 2 == pytest.approx(n + 1)


def test_equal_ratios_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    places = [circle.x for circle in lay_out(chart()).circles]
    steps = [after - before for before, after in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * len(steps))


def test_every_bubble_lies_within_the_plot() -> None:
    for circle in lay_out(chart()).circles:
        assert PLOT.holds(circle.x - circle.radius, circle.y - circle.radius)
        assert PLOT.holds(circle.x + circle.radius, circle.y + circle.radius)


def test_the_whole_front_is_labelled_and_no_labels_overlap() -> None:
    labels = lay_out(chart(count=12)).labels
    assert {label.place for label in labels} >= {0, 1, 2, 3}
    assert not any(one.box.overlap(other.box) for one, other in combinations(labels, 2))


@pytest.mark.parametrize("right", [False, True])
def test_the_front_is_stairs_that_end_where_it_is_dearest(right: bool) -> None:
    bubbles = tuple(replace(bubble, y=100 - bubble.y if right else bubble.y) for bubble in chart().bubbles)
    layout = lay_out(chart(bubbles=bubbles, more_is_better=right))
    assert layout.front[-1][0] == (PLOT.left if right else PLOT.right)
    for (x0, y0), (x1, y1) in pairwise(layout.front):
        assert x0 == x1 or y0 == y1
        assert y1 <= y0  # upwards, as costs grow


@pytest.mark.parametrize(
    ("values", "log", "whole"),
    [
        ([6e7, 2e10], True, False),
        ([1e6, 1.2e6], True, False),
        ([7.0], True, False),
        ([3e6, 9e6], True, False),
        ([60.0, 83.0], False, False),
        ([82.9, 93.3], False, False),
        ([75.0], False, False),
        ([1998, 2022], False, True),
        ([2015, 2016], False, True),
        ([2015], False, True),
    ],
)
def test_axes_are_marked_at_a_few_numbers_within_them(values: list[float], log: bool, whole: bool) -> None:
    scale = Scale.around(values, 0, 500, 30, log=log, whole=whole)
    assert (1 if whole else 3) <= len(scale.ticks) <= 13
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
    assert all(30 - 1e-6 <= scale(value) <= 470 + 1e-6 for value in values)
    assert len({scale.text(tick) for tick in scale.ticks}) == len(scale.ticks)
    if whole:
        assert all(tick == round(tick) for tick in scale.ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.089e9, "4.09G"),
        (999_999, "1.00M"),
        (25_557_032, "25.6M"),
        (312.4, "312"),
        (0.5, "0.500"),
        (9.996e6, "10.0M"),
        (999.9, "1.00k"),
    ],
)
def test_amounts_have_three_digits(value: float, text: str) -> None:
    assert rounded(value) == text


def test_families_beyond_the_colours_share_one() -> None:
    bubbles = tuple(replace(bubble, group=f"family{n}") for n, bubble in enumerate(chart(count=9).bubbles))
    layout = lay_out(chart(bubbles=bubbles))
    assert [entry.text for entry in layout.legend if entry.kind == "group"][-1] == OTHERS
    assert layout.colours.count(style.MUTED) == 3


def test_the_picture_shows_both_families_and_the_front(tmp_path: Path) -> None:
    figure = bubble_chart(chart(), tmp_path / "chart.png")
    height, width, _ = pixels(figure).shape
    assert width > height > 700
    assert near(figure, style.INK) > 1000
    for colour in (style.BLUE, style.VERMILION):
        assert near(figure, colour) > 30


def test_notes_make_the_picture_higher(tmp_path: Path) -> None:
    plain = pixels(bubble_chart(chart(), tmp_path / "plain.png")).shape[0]
    assert pixels(bubble_chart(chart(notes=("word " * 60,)), tmp_path / "noted.png")).shape[0] > plain + 20


def test_a_chart_without_bubbles_is_a_sentence(tmp_path: Path) -> None:
    assert pixels(bubble_chart(chart(bubbles=()), tmp_path / "none.png")).shape[0] < 300
    html = write_bubble_page(page(chart(bubbles=()), rows=2), tmp_path / "none.html").read_text()
    assert "<svg" not in html
    assert "row 1" in html


def test_every_bubble_is_a_link_to_its_row_and_tells_its_details(tmp_path: Path) -> None:
    shown = chart()
    html = write_bubble_page(page(shown, rows=8), tmp_path / "page.html").read_text()
    links = list(drawing(html).iter(f"{SVG}a"))
    assert len(links) == len(shown.bubbles)
    told = {link.get("href"): link.findtext(f"{SVG}title") for link in links}
    for place, bubble in enumerate(shown.bubbles):
        assert told[f"#row-{place + 1}"] == "\n".join(bubble.details)
        assert f'<tr id="row-{place + 1}"' in html
    assert all(link.get("aria-label") for link in links)
    assert [link.get("class") for link in links].count("bubble front") == 4


def test_the_page_says_which_rows_are_on_the_front_and_which_are_not_drawn(tmp_path: Path) -> None:
    html = write_bubble_page(page(chart(), rows=8), tmp_path / "page.html").read_text()
    assert html.count('class="front"><th') == 4
    assert html.count('class="undrawn"') == 2
    assert html.count("(on the Pareto front)") == 4


def test_the_page_asks_nobody_for_anything_and_runs_only_its_own_script(tmp_path: Path) -> None:
    html = write_bubble_page(page(chart()), tmp_path / "page.html").read_text()
    links = re.findall(r'(?:href|src|action)="([^"]*)"', html)
    assert all(link.startswith("#") for link in links)
    assert "url(" not in html
    assert "@import" not in html
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in html


def test_a_name_can_do_nothing_but_be_read(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    bubbles = tuple(replace(bubble, label=evil, group=evil, details=(evil,)) for bubble in chart().bubbles)
    shown = chart(bubbles=bubbles, title=evil, x_label=evil, notes=(evil,))
    filled = replace(page(shown), heading=evil, rows=(((evil, evil), ("1", 1)),) * 6, footer=evil)
    html = write_bubble_page(filled, tmp_path / "page.html").read_text()
    assert html.count("<script>") == 1
    assert drawing(html) is not None


def test_the_same_chart_is_the_same_page(tmp_path: Path) -> None:
    one, other = (write_bubble_page(page(chart()), tmp_path / f"{n}.html").read_bytes() for n in range(2))
    assert one == other
