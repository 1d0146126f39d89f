"""Curves by epoch and the range test."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_pixels import near, orange, pixels

from neocog.errors import UsageError
from neocog.visualize import range_test, style, training_curves


def rows(epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "step": 40 * epoch,
            "lr": 0.1 / epoch,
            "train_loss": 2.0 / epoch,
            "val_loss": 2.2 / epoch,
            "train_top1": 1 - 0.9 / epoch,
            "val_top1": 0.9 - 0.01 * abs(epoch - 5),
        }
        for epoch in range(1, epochs + 1)
    ]


def marks(path: Path) -> list[int]:
    """Return the columns of the picture in which a vertical mark stands."""
    columns = orange(path).sum(0)
    return [int(x) for x in np.flatnonzero(columns > 0.2 * pixels(path).shape[0])]


def test_both_curves_are_drawn_and_the_best_epoch_marked(tmp_path: Path):
    figure = training_curves(rows(9), tmp_path / "curves.png")
    height, width, _ = pixels(figure).shape
    assert width > height > 600
    assert near(figure, style.BLUE) > 500
    assert near(figure, style.SKY) > 500
    # Epoch 5 of 9 lies in the middle of each of the two upper panels.
    found = marks(figure)
    assert any(abs(x - 0.27 * width) < 0.05 * width for x in found)
    assert any(abs(x - 0.77 * width) < 0.05 * width for x in found)


def test_rows_of_a_csv_file_draw_the_same_figure(tmp_path: Path):
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows(1)[0]))
        writer.writeheader()
        writer.writerows(rows(4))
    with (tmp_path / "metrics.csv").open(newline="") as file:
        from_csv = training_curves(list(csv.DictReader(file)), tmp_path / "csv.png")
    direct = training_curves(rows(4), tmp_path / "direct.png")
    assert from_csv.read_bytes() == direct.read_bytes()


@pytest.mark.parametrize(
    "kept",
    [
        ["train_loss"],
        ["epoch", "train_loss", "val_loss"],
        ["epoch", "val_top1", "lr"],
        ["epoch", "val_mean_average_precision", "train_loss"],
    ],
)
def test_missing_columns_leave_their_panel_out(tmp_path: Path, kept: list[str]):
    table = [{**row, "val_mean_average_precision": row["val_top1"]} for row in rows(3)]
    figure = training_curves([{name: row[name] for name in kept} for row in table], tmp_path / "few.png")
    lines = near(figure, style.BLUE) + near(figure, style.SKY)
    assert lines > 200


def test_a_metric_that_is_empty_or_not_finite_is_left_out(tmp_path: Path):
    table = rows(4)
    table[1] |= {"train_loss": "nan", "val_loss": "", "val_top1": None}
    table[2] |= {"train_loss": float("inf"), "lr": "?"}
    assert near(training_curves(table, tmp_path / "gaps.png"), style.BLUE) > 200


def test_one_epoch_is_a_point(tmp_path: Path):
    assert near(training_curves(rows(1), tmp_path / "one.png"), style.VERMILION) > 50


def test_no_epoch_is_a_sentence(tmp_path: Path):
    assert pixels(training_curves([], tmp_path / "none.png")).shape[0] < 300


def test_the_suggested_rate_is_marked_on_a_logarithmic_axis(tmp_path: Path):
    lrs = np.geomspace(1e-4, 1, 50)
    figure = range_test(lrs, 2 - np.arange(50) / 50, 1e-2, tmp_path / "lr.png")
    width = pixels(figure).shape[1]
    left = 0.07 * width  # of the axes
    assert all(abs(x - (left + width) / 2) < 0.04 * width for x in marks(figure))
    assert marks(figure)


def test_a_loss_that_explodes_does_not_hide_the_fall(tmp_path: Path):
    losses = np.concatenate([np.linspace(2, 1, 40), [1e9, np.nan, np.inf]])
    figure = range_test(np.geomspace(1e-4, 1, 43), losses, 1e-2, tmp_path / "lr.png")
    drawn = np.flatnonzero((np.abs(pixels(figure) - [0x00, 0x72, 0xB2]).max(-1) < 8).any(1))
    assert drawn.max() - drawn.min() > 0.5 * pixels(figure).shape[0]


def test_no_suggestion_leaves_the_mark_out(tmp_path: Path):
    assert not marks(range_test([1e-3, 1e-2, 1e-1], [1, 2, 3], None, tmp_path / "lr.png"))


def test_a_range_test_without_finite_losses_is_a_sentence(tmp_path: Path):
    figure = range_test([1e-3, 1e-2], [np.nan, np.nan], None, tmp_path / "lr.png")
    assert pixels(figure).shape[0] < 300


def test_rates_without_their_losses_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="one loss a rate"):
        range_test([1e-3, 1e-2], [1.0], None, tmp_path / "lr.png")
