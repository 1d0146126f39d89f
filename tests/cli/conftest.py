"""Results as the jobs return them, so that commands are tested without training."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from neocog import jobs
from neocog.cli import main
from neocog.inference.metrics import ClassificationReport, measure
from neocog.inference.prediction import Prediction

Call = tuple[tuple[Any, ...], dict[str, Any]]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what `main` sets for the libraries end with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., SimpleNamespace]:
    """Run a command in this process; gives its exit code and what it printed."""

    def run(*arguments: str) -> SimpleNamespace:
        code = main(arguments)
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return run


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Call]]:
    """Replace a job by one that notes its arguments and returns, or raises, what the test gives."""

    def replace(name: str, outcome: Any) -> list[Call]:
        calls: list[Call] = []

        def stand_in(*arguments: Any, **options: Any) -> Any:
            calls.append((arguments, options))
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setitem(vars(jobs), name, stand_in)  # the real one would import torch's world
        return calls

    return replace


@pytest.fixture
def report() -> ClassificationReport:
    """Three classes, ten images, two wrong: a dog and a cat were each taken for the other's."""
    targets = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    given = torch.tensor([0, 0, 0, 1, 1, 1, 0, 2, 2, 2])
    return measure(torch.nn.functional.one_hot(given, 3).float() * 4, targets, ("cat", "dog", "fox"))


@pytest.fixture
def predictions() -> list[Prediction]:
    """Two images, and a file that is none."""
    return [
        Prediction("a b.jpg", ("ants", "bees"), (0.75, 0.25)),
        Prediction("bad\t1.jpg", error="bad.jpg is empty; delete it"),
        Prediction("ü.jpg", ("bees", "ants"), (0.9, 0.1)),
    ]


@pytest.fixture
def trained(tmp_path: Path, report: ClassificationReport) -> SimpleNamespace:
    """What a training run leaves."""
    return SimpleNamespace(
        run=tmp_path,
        model=tmp_path / "model.safetensors",
        report=tmp_path / "report.html",
        figures=(tmp_path / "curves.png",),
        validation=report,
        test=None,
        epochs=3,
        seconds=151.0,
        waiting=0.012,
        stages=(),
    )


@pytest.fixture
def shell() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a process of its own, with Python `code` before it if some is given."""
    return run_process


def run_process(
    arguments: Sequence[str], *, environment: dict[str, str] | None = None, code: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `python -m neocog` as a person's shell would."""
    start = ["-c", f"{code}\nimport sys\nfrom neocog.cli import main\nsys.exit(main())"] if code else ["-m", "neocog"]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "100", **(environment or {})},
    )
