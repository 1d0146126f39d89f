"""Rows of metrics survive kills and full disks, and no curve doubles back."""

from __future__ import annotations

import math
import resource
from pathlib import Path

import pytest

from neocog.errors import StorageError
from neocog.train.metrics_file import MetricsFile, read_metrics


@pytest.fixture
def metrics(tmp_path: Path) -> MetricsFile:
    return MetricsFile(tmp_path / "metrics.csv")


def test_rows_come_back_exactly(metrics: MetricsFile) -> None:
    rows = [
        {"step": 1, "loss": 0.1 + 0.2, "rate": 1e-300},
        {"step": 2, "loss": math.inf, "rate": -0.0},
        {"step": 3, "loss": 2.0**60, "rate": 5e-324},
    ]
    for row in rows:
        metrics.append(row)
    assert metrics.read() == rows
    assert read_metrics(metrics.path) == rows
    metrics.append({"step": 4, "loss": math.nan, "rate": 0})
    assert math.isnan(metrics.read()[3]["loss"])


def test_whole_numbers_are_written_without_a_point(metrics: MetricsFile) -> None:
    metrics.append({"step": 10, "loss": 0.5})
    metrics.append({"step": 20.0, "loss": 0.25})
    assert metrics.path.read_text() == "step,loss\n10,0.5\n20,0.25\n"


def test_columns_grow_with_new_names(metrics: MetricsFile) -> None:
    metrics.append({"step": 1, "loss": 3.0})
    metrics.append({"step": 2, "top1": 0.5, "a, b": 1.5})
    metrics.append({"loss": 1.0, "step": 3})
    assert metrics.read() == [
        {"step": 1, "loss": 3.0},
        {"step": 2, "top1": 0.5, "a, b": 1.5},
        {"step": 3, "loss": 1.0},
    ]
    assert metrics.path.read_text().splitlines()[0] == 'step,loss,top1,"a, b"'


def test_rows_beyond_a_step_are_dropped(metrics: MetricsFile) -> None:
    for step in (10, 20, 30, 40):
        metrics.append({"step": step, "loss": 1 / step})
    metrics.drop_after(25)
    assert [row["step"] for row in metrics.read()] == [10, 20]
    metrics.append({"step": 30, "loss": 0.5})
    assert [row["step"] for row in metrics.read()] == [10, 20, 30]
    metrics.drop_after(30)
    assert [row["step"] for row in metrics.read()] == [10, 20, 30]
    metrics.drop_after(0)
    assert metrics.read() == []


@pytest.mark.parametrize("torn", ["3", "30,0.", "30,0.5"])
def test_a_row_cut_short_is_left_out_and_removed(metrics: MetricsFile, torn: str) -> None:
    metrics.append({"step": 10, "loss": 0.5})
    with metrics.path.open("a") as file:
        file.write(torn)
    assert metrics.read() == [{"step": 10, "loss": 0.5}]
    metrics.drop_after(10)
    metrics.append({"step": 20, "loss": 0.25})
    assert metrics.read() == [{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.25}]


def test_no_file_has_no_rows(metrics: MetricsFile) -> None:
    assert metrics.read() == []
    metrics.drop_after(3)
    assert not metrics.path.exists()


def test_a_full_disk_keeps_the_rows_before(metrics: MetricsFile) -> None:
    metrics.append({"step": 1, "loss": 0.5})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*metrics\.csv"):
            metrics.append({"step": 2, "loss": 0.123456789012345})
        with pytest.raises(StorageError, match=r"cannot write .*metrics\.csv"):
            metrics.append({"step": 2, "a column with a long name": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert metrics.read() == [{"step": 1, "loss": 0.5}]
