from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from neocog.inference.metrics import ClassificationReport
from neocog.inference.prediction import Prediction

Command = Callable[..., SimpleNamespace]
Job = Callable[..., list]


@pytest.fixture
def done(trained: SimpleNamespace, report: ClassificationReport, tmp_path: Path) -> SimpleNamespace:
    model = SimpleNamespace(network=torch.nn.Linear(2, 2), card=SimpleNamespace(model="lenet5"))
    return SimpleNamespace(
        trained=trained,
        evaluation=SimpleNamespace(report=report, model=model),
        predictions=[Prediction("s/digit-000.png", ("3", "8"), (0.98, 0.01)), Prediction("s/1.png", ("7",), (0.6,))],
        truths=("3", "1"),
        images=tmp_path / "samples",
        figure=tmp_path / "samples.png",
    )


def test_a_stranger_is_told_what_happened_how_well_where_and_what_next(
    command: Command, job: Job, done: SimpleNamespace
) -> None:
    calls = job("demo", done)
    shown = command("demo", "--out", "runs/d")
    assert shown.code == 0
    assert calls[0][0] == (Path("runs/d"),)
    assert "test accuracy   80.00 % of 10 images right (95 % interval" in shown.out
    assert "1 of 2 sample images right" in shown.out
    for path in (done.trained.model, done.trained.report, *done.trained.figures, done.images, done.figure):
        assert str(path) in shown.out
    assert f"neocog predict {done.trained.model} {done.images}" in shown.out


def test_json_is_one_document(command: Command, job: Job, done: SimpleNamespace) -> None:
    job("demo", done)
    told = json.loads(command("demo", "--json").out)
    assert told["test"]["top1"] == pytest.approx(0.8)
    assert told["model"] == str(done.trained.model)
