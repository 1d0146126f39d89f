"""A photograph beside what filters make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from figure_pixels import near, pixels

from neocog.errors import UsageError
from neocog.visualize import filters, style
from neocog.visualize.filters import Panel, coloured, columns_of, draw


def photograph(height: int = 60, width: int = 80) -> Panel:
    return Panel("The photograph", "", np.full((height, width, 3), (0.2, 0.6, 0.3), np.float32))


def signed(values: np.ndarray, kernel: np.ndarray | None = None) -> Panel:
    return Panel("Sobel, x", "a note", values.astype(np.float32), "signed", kernel)


def test_no_answer_is_white_and_signs_have_the_houses_colours():
    colours = (255 * coloured(signed(np.array([[-1.0, 0.0, 1.0]])))).round().astype(int)[0]
    assert ["#{:02X}{:02X}{:02X}".format(*colour) for colour in colours] == [style.BLUE, "#FFFFFF", style.VERMILION]


def test_a_few_sharp_corners_do_not_pale_the_rest():
    values = np.full((100, 100), 0.1)
    values[0, 0] = 1000
    assert coloured(signed(values))[50, 50] == pytest.approx(coloured(signed(np.ones((2, 2))))[0, 0])


def test_a_strength_is_ink_on_paper():
    shades = coloured(Panel("", "", np.array([[0.0, 1, 2]], np.float32), "strength"))[0]
    assert shades[0] == pytest.approx(1)
    assert shades[2] == pytest.approx(0.05)
    assert (np.ptp(shades, axis=1) == 0).all()


def test_the_strongest_direction_gives_its_hue_and_strength():
    values = np.zeros((6, 1, 8), np.float32)
    for number in range(6):
        values[number, 0, number] = 1
    values[0, 0, 6] = 0.5
    colours = coloured(Panel("", "", values, "directions"))[0]
    assert colours[7] == pytest.approx(1)
    distances = [np.abs(colours[a] - colours[b]).max() for a in range(6) for b in range(a)]
    assert min(distances) > 0.2
    assert colours[6] == pytest.approx((colours[0] + 1) / 2)  # half way to white


def test_nothing_at_all_is_white_rather_than_noise():
    assert (coloured(signed(np.zeros((3, 3)))) == 1).all()
    assert (coloured(Panel("", "", np.zeros((4, 3, 3), np.float32), "directions")) == 1).all()


def test_photographs_are_clipped():
    panel = Panel("", "", np.array([[[-0.5, 0.5, 1.5]]], np.float32))
    assert coloured(panel).tolist() == [[[0, 0.5, 1]]]


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (6, 3), (8, 4), (9, 3), (7, 3)])
def test_rows_are_full_where_they_can_be(count: int, columns: int):
    assert columns_of(count) == columns


def test_panels_are_drawn_in_their_own_ratio_with_their_kernels(tmp_path: Path):
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    panels = [photograph(), signed(np.tile([-1.0, 0, 1, 0], (60, 20)), kernel)]
    path = draw(panels, tmp_path / "filtered.png", title="What filters see", foot="White is none.")
    green = (np.abs(pixels(path) - (51, 153, 76)).max(-1) < 8).nonzero()
    assert np.ptp(green[1]) == pytest.approx(filters.PANEL * style.DPI, abs=4)
    assert np.ptp(green[0]) == pytest.approx(0.75 * filters.PANEL * style.DPI, abs=4)
    # The kernel's strongest cells are blue and vermilion; the panel's stripes are too.
    without = draw([panels[0], signed(panels[1].values)], tmp_path / "without.png")
    for colour in (style.BLUE, style.VERMILION):
        assert near(path, colour) > near(without, colour) + 200


def test_any_shape_of_photograph_is_drawn(tmp_path: Path):
    for number, (height, width) in enumerate([(1, 1), (2, 300), (300, 2), (50, 50)]):
        shape = (height, width)
        panels = [photograph(height, width), signed(np.ones(shape), np.ones((31, 31), np.float32))]
        panels.append(Panel("Gabor", "hue", np.ones((6, *shape), np.float32), "directions"))
        assert pixels(draw(panels, tmp_path / f"{number}.png", title="Title " * 10)).shape[1] > 400


@pytest.mark.parametrize("name", ["picture.docx", "picture", "."])
def test_a_format_that_cannot_be_written_is_refused(tmp_path: Path, name: str):
    with pytest.raises(UsageError, match=r"ends in \.png"):
        draw([photograph()], tmp_path / name)


@pytest.mark.parametrize("suffix", filters.FORMATS)
def test_every_format_that_is_offered_is_written(tmp_path: Path, suffix: str):
    assert draw([photograph()], tmp_path / f"picture{suffix}").stat().st_size > 500
