"""Templates are drawn with zero in the middle of their colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog.errors import UsageError
from neocog.visualize.templates import MOST, coloured, draw


def test_a_colour_template_is_grey_at_zero_and_bright_where_its_colour_speaks_for_the_class() -> None:
    template = np.zeros((3, 4, 4), np.float32)
    template[0, 0, 0], template[2, 3, 3] = 2.0, -2.0
    colours = coloured(template)
    assert colours.shape == (4, 4, 3)
    np.testing.assert_allclose(colours[1, 1], 0.5)
    np.testing.assert_allclose(colours[0, 0], [1, 0.5, 0.5])
    np.testing.assert_allclose(colours[3, 3], [0.5, 0.5, 0])


def test_a_grey_template_is_white_at_zero_orange_for_and_blue_against() -> None:
    template = np.zeros((1, 30, 30), np.float32)
    template[0, :10], template[0, 20:] = 1.0, -1.0
    colours = coloured(template)
    np.testing.assert_allclose(colours[15, 15], 1)
    assert colours[5, 5, 0] > colours[5, 5, 2]
    assert colours[25, 5, 0] < colours[25, 5, 2]


def test_a_template_of_zeros_has_no_colour() -> None:
    np.testing.assert_allclose(coloured(np.zeros((3, 2, 2), np.float32)), 0.5)


@pytest.mark.parametrize(("count", "channels"), [(1, 3), (10, 3), (13, 1), (MOST + 5, 2)])
def test_the_picture_holds_every_template_up_to_the_most(tmp_path: Path, count: int, channels: int) -> None:
    templates = np.random.default_rng(0).normal(size=(count, channels, 8, 8)).astype(np.float32)
    path = draw(templates, [f"class {number}" for number in range(count)], tmp_path / "t.png", title="Templates")
    with Image.open(path) as picture:
        assert picture.width / picture.height == pytest.approx(
            {1: 1.8, 10: 2.1, 13: 3.7, MOST + 5: 1.5}[count], rel=0.25
        )


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a picture's file ends in"):
        draw(np.zeros((1, 1, 2, 2), np.float32), ["a"], tmp_path / "t.xyz")
