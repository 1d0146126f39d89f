"""Schedules drawn over the epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from figure_pixels import near, orange, pixels

from neocog.errors import UsageError
from neocog.visualize import style
from neocog.visualize.schedules import Schedule, schedules

EPOCHS = tuple(np.linspace(0, 10, 200))
FALLING = Schedule("learning rate", EPOCHS, tuple(1 - epoch / 20 for epoch in EPOCHS))


def test_each_schedule_has_a_panel_of_its_own(tmp_path: Path) -> None:
    one = schedules([FALLING], tmp_path / "one.png", title="one")
    two = schedules([FALLING, FALLING._replace(name="image_size")], tmp_path / "two.png", title="two")
    assert pixels(two).shape[0] > 1.4 * pixels(one).shape[0]
    assert near(two, style.BLUE) > 1.5 * near(one, style.BLUE) > 1000


def test_the_beginnings_of_stages_are_marked(tmp_path: Path) -> None:
    marked = schedules([FALLING], tmp_path / "marked.png", title="two stages", stages=[5.0])
    columns = np.flatnonzero(orange(marked).sum(0) > 0.2 * pixels(marked).shape[0])
    assert len(columns) > 0
    assert columns.mean() / pixels(marked).shape[1] == pytest.approx(0.53, abs=0.05)


def test_a_schedule_falls_where_its_values_do(tmp_path: Path) -> None:
    figure = schedules([FALLING], tmp_path / "falling.png", title="falling")
    blue = np.abs(pixels(figure) - [int(style.BLUE[i : i + 2], 16) for i in (1, 3, 5)]).max(-1) < 8
    columns = np.flatnonzero(blue.any(0))
    heights = [np.flatnonzero(blue[:, column]).mean() for column in columns[5:-5:10]]
    assert heights == sorted(heights)  # down the picture


def test_title_and_names_are_written(tmp_path: Path) -> None:
    steps = Schedule("rate", EPOCHS, tuple(10.0 ** -(epoch // 4) for epoch in EPOCHS), logarithmic=True)
    written = schedules([steps], tmp_path / "steps.svg", title="a recipe: learning rate").read_text("utf-8")
    for text in ("a recipe: learning rate", "rate (logarithmic)", "epoch"):
        assert f"<!-- {text} -->" in written  # letters are drawn as paths, each text named in a comment


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one curve"):
        schedules([], tmp_path / "none.png", title="none")
    with pytest.raises(UsageError, match="one value"):
        schedules([FALLING._replace(values=(1.0,))], tmp_path / "none.png", title="none")
    with pytest.raises(UsageError, match=r"\.svg"):
        schedules([FALLING], tmp_path / "none.txt", title="none")
    assert not list(tmp_path.iterdir())
