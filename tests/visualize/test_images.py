"""Grids of images with captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from figure_pixels import near, pixels
from PIL import Image

from neocog.visualize import images, predictions, style, worst_mistakes

RED = (200, 10, 30)


def photograph(width: int = 400, height: int = 300) -> Image.Image:
    return Image.new("RGB", (width, height), RED)


def red(path: Path) -> np.ndarray:
    return (np.abs(pixels(path) - RED).max(-1) < 20).nonzero()


def test_every_image_is_drawn_at_its_own_ratio(tmp_path: Path):
    figure = worst_mistakes([(photograph(400, 200), "ants", "bees", 0.9)], tmp_path / "worst.png")
    rows, columns = red(figure)
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(2, abs=0.05)
    assert np.ptp(columns) > 280


def test_tiny_images_are_enlarged_with_sharp_pixels(tmp_path: Path):
    checks = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)
    figure = predictions([(Image.fromarray(checks), "3", "3", 0.9)], tmp_path / "predictions.png")
    grey = pixels(figure).mean(-1)
    # The top left cell is black; the image begins at its corner and is 8 x 8 such cells.
    dark = grey < 5
    top, left = np.argwhere(dark[60:, :])[0] + (60, 0)
    side = int(np.argmin(dark[top, left:]))
    assert side > 20
    square = grey[top : top + 8 * side, left : left + 8 * side]
    middles = square[side // 2 :: side, side // 2 :: side][:8, :8]
    assert np.array_equal(middles > 128, checks > 128)
    assert ((square > 20) & (square < 235)).mean() < 0.05  # no smooth ramps between them


def test_any_kind_and_shape_of_image_is_drawn(tmp_path: Path):
    pictures = [Image.new(mode, (90, 90)) for mode in ("L", "RGB", "RGBA", "P", "1", "CMYK")]
    pictures += [Image.new("RGB", size) for size in ((1, 1), (3000, 2), (2, 3000), (1, 65))]
    figure = worst_mistakes([(image, "a", "b", 0.5) for image in pictures], tmp_path / "worst.png")
    assert pixels(figure).shape[0] > 500


def test_images_fill_rows_of_the_given_length(tmp_path: Path):
    items = [(photograph(), "ants", "bees", 0.9)] * 6
    narrow = pixels(worst_mistakes(items, tmp_path / "narrow.png", columns=3)).shape
    wide = pixels(worst_mistakes(items, tmp_path / "wide.png", columns=6)).shape
    assert wide[1] > 1.8 * narrow[1]
    assert narrow[0] > 1.5 * wide[0]


def test_long_names_do_not_widen_the_figure(tmp_path: Path):
    short = worst_mistakes([(photograph(), "ants", "bees", 0.9)] * 3, tmp_path / "short.png")
    name = "a very long class name, with $ and <b> and a Latin name " * 5
    long = worst_mistakes([(photograph(), name, name + "!", 0.99999)] * 3, tmp_path / "long.png")
    assert pixels(long).shape[1] <= pixels(short).shape[1] + 3


def test_right_and_wrong_have_their_colours(tmp_path: Path):
    good = predictions([(photograph(), "ants", "ants", 0.9)], tmp_path / "good.png")
    bad = predictions([(photograph(), "ants", "bees", 0.9)], tmp_path / "bad.png")
    unknown = predictions([(photograph(), None, "bees", 0.9)], tmp_path / "unknown.png")
    counts = [(near(path, images.RIGHT) > 20, near(path, style.VERMILION) > 20) for path in (good, bad, unknown)]
    assert counts == [(True, False), (False, True), (False, False)]


def test_no_more_than_a_page_of_images_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images, "MOST", 3)
    many = [(photograph(), "a", "b", 0.5)] * 40
    few = worst_mistakes(many[:3], tmp_path / "few.png", columns=1)
    assert worst_mistakes(many, tmp_path / "many.png", columns=1).read_bytes() == few.read_bytes()


def test_no_mistake_is_a_sentence(tmp_path: Path):
    assert pixels(worst_mistakes([], tmp_path / "worst.png")).shape[0] < 300
    assert pixels(predictions([], tmp_path / "predictions.png")).shape[0] < 300


def test_the_images_given_are_left_as_they_are(tmp_path: Path):
    image = photograph(2000, 1000)
    worst_mistakes([(image, "ants", "bees", 0.9)], tmp_path / "worst.png")
    assert image.size == (2000, 1000)
