from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from neocog.inference.metrics import ClassificationReport

Command = Callable[..., SimpleNamespace]
Job = Callable[..., list]


def test_options_reach_the_job(command: Command, job: Job, trained: SimpleNamespace) -> None:
    calls = job("train", trained)
    typed = """
        train photos --model resnet18 --recipe quick --weights default --epochs 3 --batch-size 16 --lr 0.05 --seed 7
        --out runs/x --data-dir d --device cpu --set augment.flip=0 --set edits.stem=small --set augment.scale=[0.5,1]
        --set clip_norm=none --set compile=true
    """
    done = command(*typed.split())
    assert done.code == 0
    ((source,), options) = calls[0]
    assert source == "photos"
    assert options["overrides"] == {
        "epochs": 3, "batch_size": 16, "optimizer.lr": 0.05, "seed": 7, "augment.flip": 0, "edits.stem": "small",
        "augment.scale": [0.5, 1], "clip_norm": None, "compile": True,
    }  # fmt: skip
    given = {name: options[name] for name in ("model", "recipe", "weights", "out", "data_dir", "device")}
    assert given == {
        "model": "resnet18", "recipe": "quick", "weights": "default", "out": Path("runs/x"), "data_dir": Path("d"),
        "device": "cpu",
    }  # fmt: skip


def test_what_is_not_given_is_left_to_the_recipe(command: Command, job: Job, trained: SimpleNamespace) -> None:
    calls = job("train", trained)
    command("train", "photos")
    _, options = calls[0]
    assert (options["overrides"], options["model"], options["recipe"]) == ({}, None, "quick")


def test_the_result_is_told_with_its_interval_and_paths(command: Command, job: Job, trained: SimpleNamespace) -> None:
    job("train", trained)
    shown = command("train", "photos").out
    assert "3 epochs in 2 min 31 s, 1.2 % of it waiting for data" in shown
    assert "validation  80.00 % of 10 images right (95 % interval 49.02 to 94.33 %)" in shown
    assert all(str(path) in shown for path in (trained.model, trained.report, *trained.figures))


def test_where_nothing_was_held_out_the_figure_of_the_training_images_is_called_so(
    command: Command, job: Job, trained: SimpleNamespace, report: ClassificationReport
) -> None:
    trained.validation, trained.measured = None, report
    job("train", trained)
    assert "training    80.00 % of 10 images right" in command("train", "photos").out


def test_json_is_one_document_and_all_else_is_on_standard_error(
    command: Command, job: Job, trained: SimpleNamespace
) -> None:
    job("train", trained)
    result = json.loads(command("train", "photos", "--json").out)
    assert result["model"] == str(trained.model)
    assert result["validation"]["top1"] == pytest.approx(0.8)
    assert result["test"] is None


def test_resume_takes_the_run_alone(command: Command, job: Job, trained: SimpleNamespace) -> None:
    calls = job("resume", trained)
    assert command("train", "--resume", "runs/x").code == 0
    assert calls[0][0] == (Path("runs/x"),)


@pytest.mark.parametrize("extra", ["photos", "--epochs 3", "--set epochs=3", "--seed 0", "--out runs/y"])
def test_resume_refuses_what_would_change_the_run(command: Command, job: Job, extra: str) -> None:
    calls = job("resume", None)
    done = command("train", "--resume", "runs/x", *extra.split())
    assert (done.code, calls) == (2, [])
    assert "--resume" in done.err
    assert ("SOURCE" if extra == "photos" else extra.split()[0]) in done.err


def test_lr_find_passes_its_range_and_prints_the_option_to_use(command: Command, job: Job) -> None:
    found = SimpleNamespace(lrs=(1e-4, 1e-2), losses=(2.0, 1.0), suggestion=0.0123, figure=Path("lr.png"))
    calls = job("lr_find", found)
    typed = "lr-find photos --lowest 1e-4 --highest 0.5 --steps 20 --out lr.png --set seed=3"
    done = command(*typed.split())
    assert done.out.splitlines() == ["suggestion  --lr 0.012", "figure      lr.png"]
    options = calls[0][1]
    assert (options["lowest"], options["highest"], options["steps"]) == (1e-4, 0.5, 20)
    assert options["overrides"] == {"seed": 3}
    assert json.loads(command("lr-find", "photos", "--json").out)["suggestion"] == 0.0123
