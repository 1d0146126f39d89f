"""The confusion matrix, for few classes and for many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from figure_pixels import bluish, orange, pixels
from numpy.typing import NDArray

from neocog.errors import UsageError
from neocog.visualize import confusion_matrix
from neocog.visualize.confusion import _pooled, most_confused

DIGITS = [str(digit) for digit in range(10)]


def bounds(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns between the mask's first pixels and its last."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def cells(path: Path, size: int, *, diagonal: bool = True) -> NDArray[np.float64]:
    """Return the mean brightness `(size, size)` of the cells between the first and last dark blue pixel."""
    area = pixels(path).mean(-1)[bounds(bluish(path))]
    rows = np.array_split(area, size)
    return np.array([[cell.mean() for cell in np.array_split(row, size, axis=1)] for row in rows])


def test_a_perfect_matrix_is_dark_on_the_diagonal_only(tmp_path: Path):
    figure = confusion_matrix(7 * np.eye(10, dtype=int), DIGITS, tmp_path / "confusion.png")
    brightness = cells(figure, 10)
    assert brightness.diagonal().max() < 110
    assert brightness[~np.eye(10, dtype=bool)].min() > 240
    assert not orange(figure)[bounds(bluish(figure))].any()


def test_a_mistake_is_orange_where_it_belongs(tmp_path: Path):
    matrix = 7 * np.eye(10, dtype=int)
    matrix[2, 8] = 4
    figure = confusion_matrix(matrix, DIGITS, tmp_path / "confusion.png")
    area = orange(figure)[bounds(bluish(figure))]
    y, x = np.argwhere(area).mean(0) / area.shape
    assert (int(10 * y), int(10 * x)) == (2, 8)


def test_the_colour_is_the_share_of_the_row(tmp_path: Path):
    small_class = [[1000, 0, 0], [0, 3, 0], [0, 0, 1000]]
    brightness = cells(confusion_matrix(small_class, ["a", "b", "c"], tmp_path / "confusion.png"), 3)
    assert np.ptp(brightness.diagonal()) < 25


@pytest.mark.parametrize("size", [1, 20, 60, 61])
def test_any_number_of_classes_fits_on_a_page(tmp_path: Path, size: int):
    counts = 9 * np.eye(size, dtype=int) + np.eye(size, k=1, dtype=int)
    names = [f"a class with quite a long name, number {number}" for number in range(size)]
    height, width, _ = pixels(confusion_matrix(counts, names, tmp_path / "confusion.png")).shape
    assert 500 < width < 2500
    assert 350 < height < 2300


def test_a_lone_mistake_among_a_thousand_classes_can_be_seen(tmp_path: Path):
    matrix = np.eye(1000, dtype=int)
    matrix[100, 100], matrix[100, 900] = 0, 1
    figure = confusion_matrix(matrix, [str(number) for number in range(1000)], tmp_path / "confusion.png")
    rows, columns = bounds(bluish(figure))
    area = orange(figure)[rows, columns]
    spots = np.argwhere(area) / area.shape
    assert len(spots) > 3
    assert np.allclose(spots, [0.1, 0.9], atol=0.01)


def test_pooling_keeps_the_mean_of_what_is_right_and_the_most_of_what_is_wrong():
    shares = np.full((1200, 1200), np.nan)
    shares[:9] = 0
    shares[range(9), range(9)] = np.arange(9) / 10
    shares[4, 7] = 0.25
    right, wrong = _pooled(shares)
    assert right[:3] == pytest.approx([0.1, 0.4, 0.7])
    assert np.isnan(right[3:]).all()
    assert wrong[1, 2] == 0.25
    assert wrong[0, 1] == 0
    assert np.isnan(wrong[3:]).all()


def test_a_class_without_images_is_grey(tmp_path: Path):
    figure = confusion_matrix([[5, 0], [0, 0]], ["a", "b"], tmp_path / "confusion.png")
    grey = (np.abs(pixels(figure) - 237).max(-1) < 3).sum()
    assert grey > 0.2 * bluish(figure).sum()


@pytest.mark.parametrize("matrix", [[[0, 0], [0, 0]], [[0, 3], [0, 0]], [[5, 0], [0, 5]]])
def test_empty_wrong_and_perfect_matrices_are_drawn(tmp_path: Path, matrix: list[list[int]]):
    assert confusion_matrix(matrix, ["$a$", "<b>"], tmp_path / "confusion.png").exists()


def test_the_most_confused_pairs_come_first_and_zeros_never():
    counts = np.array([[9, 1, 0], [5, 9, 0], [0, 2, 9]])
    assert most_confused(counts, 10) == [(1, 0), (2, 1), (0, 1)]
    assert most_confused(counts, 1) == [(1, 0)]


def test_a_matrix_of_other_classes_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"of 3 classes is \(3, 3\)"):
        confusion_matrix(np.eye(2), ["a", "b", "c"], tmp_path / "confusion.png")
