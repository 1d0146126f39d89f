"""`jobs.filter_image`: a photograph in, a picture of what filters make of it out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from neocog.errors import DataError, UnknownNameError, UsageError
from neocog.jobs import filtering
from neocog.jobs.filtering import KINDS, filter_image


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save(path)
    return path


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Draw nothing, which takes longest, where a test does not look at the drawing."""
    monkeypatch.chdir(tmp_path)
    if "looks_at_it" not in request.node.name:
        monkeypatch.setattr(filtering.figures, "draw", lambda panels, path, **texts: Path(path))


def test_all_kinds_are_in_one_picture_with_the_photograph_first(photograph, tmp_path):
    found = filter_image(photograph, out=tmp_path / "filtered.png")
    assert found.kinds == tuple(KINDS) == ("sobel", "gabor", "log", "gaussian", "sharpen", "unsharp")
    assert len(found.panels) == 9
    assert found.panels[0].title == "The photograph"
    with Image.open(photograph) as image:
        assert (found.panels[0].values * 255).round().tolist() == np.asarray(image).tolist()


def test_the_picture_is_drawn_for_python_too_and_one_looks_at_it(photograph, tmp_path):
    from neocog import jobs

    found = jobs.filter_image(str(photograph), "sharpen", out=tmp_path / "sharp.png")
    assert isinstance(found, jobs.Filtered)
    assert found.figure == tmp_path / "sharp.png"
    with Image.open(found.figure) as picture:
        assert picture.width > picture.height > 300


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        ("sobel", ["Sobel, x", "Sobel, y", "Sobel, both"]),
        ("gabor", ["Gabor, 0°", "Gabor, 30°", "Gabor, 60°", "Gabor, 90°", "Gabor, 120°", "Gabor, 150°",
                   "Gabor, strongest"]),
        ("log", ["LoG, σ = 1", "LoG, σ = 2", "LoG, σ = 4"]),
        ("gaussian", ["Gaussian, σ = 1", "Gaussian, σ = 2", "Gaussian, σ = 4"]),
        ("sharpen", ["Sharpened"]),
    ],
)  # fmt: skip
def test_a_single_kind_comes_with_its_parts(photograph, kind, titles):
    assert [panel.title for panel in filter_image(photograph, kind).panels[1:]] == titles
    assert len(filter_image(photograph, [kind]).panels) == 1 + len(titles)


def test_several_kinds_keep_the_houses_order(photograph):
    found = filter_image(photograph, ["unsharp", "log", "log"])
    assert found.kinds == ("log", "unsharp")
    assert [panel.title for panel in found.panels[1:]] == ["LoG, σ = 2", "Unsharp, σ = 2"]


def test_answers_are_scipys_of_the_photographs_brightness(photograph):
    with Image.open(photograph) as image:
        grey = np.asarray(image) / 255 @ np.array([0.299, 0.587, 0.114])
        red = np.asarray(image)[..., 0] / 255
    across, down, both = (panel.values for panel in filter_image(photograph, "sobel").panels[1:])
    np.testing.assert_allclose(across, ndimage.sobel(grey, 1, mode="nearest"), atol=1e-5)
    np.testing.assert_allclose(down, ndimage.sobel(grey, 0, mode="nearest"), atol=1e-5)
    np.testing.assert_allclose(both, np.hypot(across, down), atol=1e-5)
    blurred = filter_image(photograph, "gaussian").panels[2].values
    np.testing.assert_allclose(blurred[..., 0], ndimage.gaussian_filter(red, 2, mode="nearest"), atol=1e-5)


def test_stripes_get_the_hue_of_their_direction():
    stripes = np.broadcast_to(128 + 100 * np.sin(2 * np.pi * np.arange(60) / 6), (60, 60)).astype(np.uint8)
    for image, strongest in ((stripes, 0), (stripes.T, 3)):
        directions = filter_image(Image.fromarray(image), "gabor").panels[-1].values
        assert (directions.argmax(0)[20:40, 20:40] == strongest).all()
        # The length of a line's and an edge's answer is the same all over the stripes.
        assert np.ptp(directions[strongest, 20:40, 20:40]) < 0.02


def test_large_photographs_are_reduced_and_small_ones_left(tmp_path):
    wide = Image.new("RGB", (2000, 1000), (90, 120, 30))
    assert filter_image(wide, "sharpen").size == (224, 448)
    assert filter_image(wide, "sharpen", size=100).size == (50, 100)
    assert filter_image(Image.new("L", (20, 10)), "sharpen").size == (10, 20)
    assert filter_image(Image.new("RGB", (5000, 1)), "sharpen").size == (1, 448)


def test_what_cannot_be_meant_is_refused_before_anything_is_filtered(photograph, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown filter 'sobol'; did you mean sobel"):
        filter_image("nowhere.jpg", "sobol")
    with pytest.raises(UsageError, match="at least one kind"):
        filter_image(photograph, [])
    with pytest.raises(UsageError, match="8 pixels or more a side, not 7"):
        filter_image(photograph, size=7)
    with pytest.raises(UsageError, match=r"ends in \.png"):
        filter_image(photograph, out=tmp_path / "filtered.txt")


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(DataError, match="not an image"):
        filter_image(tmp_path / "page.jpg")
    with pytest.raises(DataError, match="no such file"):
        filter_image(tmp_path / "nowhere.jpg")
    with pytest.raises(DataError, match="is a folder"):
        filter_image(tmp_path)
