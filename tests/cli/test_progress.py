from __future__ import annotations

import io
import sys

import pytest

from neocog.cli import _progress
from neocog.cli._progress import BarListener, LineListener, listening
from neocog.jobs.listener import Listener

ROW = {"epoch": 1.0, "train_loss": 0.5, "val_loss": 0.25, "val_top1": 0.9, "lr": 0.1, "images_per_second": 34.06}


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock whose only entry the test sets."""
    now = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    return now


def test_epochs_are_lines_under_one_heading(capsys: pytest.CaptureFixture[str]) -> None:
    listener = LineListener()
    listener.epoch(ROW)
    listener.epoch({**ROW, "epoch": 2.0, "val_top1": 1.0})
    heading, first, second = capsys.readouterr().err.splitlines()
    assert heading.split() == ["epoch", "train", "loss", "val", "loss", "val", "top-1", "rate", "images/s"]
    assert first.split() == ["1", "0.5000", "0.2500", "90.00", "%", "1.00e-01", "34.1"]
    assert "100.00 %" in second


def test_long_work_without_a_terminal_speaks_twice_a_minute(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    listener = LineListener()
    listener.begin("evaluating", 1000)
    for second in range(1, 61):
        clock[0] = float(second)
        listener.advance(second * 10, loss=0.5)
    listener.end()
    assert capsys.readouterr().err.splitlines() == [
        "evaluating: 300 of 1,000 images, 10.0 images/s, 1 min 10 s left, loss 0.500",
        "evaluating: 600 of 1,000 images, 10.0 images/s, 40 s left, loss 0.500",
    ]


def test_short_work_without_a_terminal_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    listener = LineListener()
    listener.begin("evaluating", 2)
    listener.advance(1)
    listener.advance(2)
    listener.end()
    assert capsys.readouterr().err == ""


def test_a_plan_is_a_column_of_labels(capsys: pytest.CaptureFixture[str]) -> None:
    LineListener().plan([("data", "digits"), ("network", "lenet5")])
    assert capsys.readouterr().err.splitlines() == ["data     digits", "network  lenet5", ""]


def test_a_terminal_gets_a_bar_that_vanishes(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with listening() as listener:
        assert isinstance(listener, BarListener)
        listener.begin("epoch 1 of 2", 100)
        clock[0] = 2.0
        listener.advance(50, loss=0.5, top1=0.75)
        listener.end()
        listener.notice("done")
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "epoch 1 of 2" in shown
    assert "50/100" in shown
    assert "25.0 images/s" in shown
    assert "top-1 75.0 %" in shown
    assert shown.endswith("note: done\n")


def test_the_bar_is_taken_down_when_a_job_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyError), listening() as listener:  # noqa: PT012
        listener.begin("work", 10)
        raise KeyError
    assert listener._bar is None  # type: ignore[attr-defined]


def test_without_a_terminal_there_are_lines() -> None:
    with listening() as listener:
        assert type(listener) is LineListener


def test_other_processes_of_a_distributed_run_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with listening() as listener:
        assert type(listener) is Listener
