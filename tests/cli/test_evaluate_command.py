from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from neocog.cli._report import most_confused, print_report
from neocog.inference.imagenet import RealAccuracy
from neocog.inference.metrics import ClassificationReport, measure

Command = Callable[..., SimpleNamespace]
Job = Callable[..., list]


@pytest.fixture
def measured(report: ClassificationReport) -> SimpleNamespace:
    split = SimpleNamespace(name="pets/test", warnings=("a.jpg is in two splits",))
    model = SimpleNamespace(card=SimpleNamespace(model="resnet18"))
    return SimpleNamespace(report=report, split=split, model=model, views="centre", members=(), real=None)


def test_the_figures_come_with_their_interval(command: Command, job: Job, measured: SimpleNamespace) -> None:
    calls = job("evaluate", measured)
    done = command("evaluate", "m.safetensors", "pets", "--split", "test", "--batch-size", "8")
    assert done.code == 0
    assert "80.00 %  (95 % interval 49.02 to 94.33 %)" in done.out
    assert "calibration error" in done.out
    assert "cat taken for dog: 1 of 4" in done.out
    assert "a.jpg is in two splits" in done.err
    assert calls[0][0] == ("m.safetensors", "pets")
    assert (calls[0][1]["split"], calls[0][1]["batch_size"]) == ("test", 8)


def test_json_is_one_document(command: Command, job: Job, measured: SimpleNamespace) -> None:
    job("evaluate", measured)
    found = json.loads(command("evaluate", "m.safetensors", "pets", "--json").out)
    assert found["data"] == "pets/test"
    assert found["top1"] == pytest.approx(0.8)
    assert len(found["per_class"]) == len(found["confusion"]) == 3


def test_csv_holds_a_row_for_each_class(command: Command, job: Job, measured: SimpleNamespace, tmp_path: Path) -> None:
    job("evaluate", measured)
    command("evaluate", "m.safetensors", "pets", "--csv", str(tmp_path / "classes.csv"))
    with (tmp_path / "classes.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["cat", "dog", "fox"]


def test_a_csv_that_cannot_be_written_is_a_disk_error(
    command: Command, job: Job, measured: SimpleNamespace, tmp_path: Path
) -> None:
    job("evaluate", measured)
    assert command("evaluate", "m.safetensors", "pets", "--csv", str(tmp_path / "no" / "x.csv")).code == 6


def test_of_many_classes_the_worst_are_shown_worst_first(capsys: pytest.CaptureFixture[str]) -> None:
    count = 30
    targets = torch.arange(count).repeat(2)
    given = targets.clone()
    given[count + 7], given[count + 3], given[3] = 8, 4, 4  # class 3 never right, class 7 half the time
    classes = [f"class{number}" for number in range(count)]
    print_report(measure(torch.nn.functional.one_hot(given, count).float(), targets, classes))
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("class") and line.split()[0] != "class"]
    assert "the 20 classes with the lowest F1, of 30" in lines
    assert shown[:2] == ["class3", "class4"]
    assert len(shown) == 20


def test_the_most_confused_pair_comes_first(report: ClassificationReport) -> None:
    assert {pair[:3] for pair in most_confused(report)} == {("cat", "dog", 1), ("dog", "cat", 1)}


def test_several_labels_are_told_by_average_precision(capsys: pytest.CaptureFixture[str]) -> None:
    logits = torch.tensor([[2.0, -2.0], [-1.0, 3.0], [1.0, 1.0]])
    print_report(measure(logits, (logits > 0).float(), ("sea", "sky"), multi_label=True))
    shown = capsys.readouterr().out
    assert "mean avg precision 100.00 %" in shown
    assert "top-1" not in shown


def test_several_models_are_an_ensemble_with_a_line_for_each(
    command: Command, job: Job, measured: SimpleNamespace
) -> None:
    worse = measure(torch.zeros(4, 3), torch.tensor([0, 1, 2, 2]), ("cat", "dog", "fox"))
    measured.members = tuple(SimpleNamespace(report=each) for each in (worse, measured.report))
    calls = job("evaluate", measured)
    done = command("evaluate", "a.safetensors", "b.safetensors", "pets", "--mean", "probabilities")
    assert calls[0][0] == ("a.safetensors", "pets")
    assert (calls[0][1]["others"], calls[0][1]["mean"]) == (["b.safetensors"], "probabilities")
    assert "mean of the probabilities of 2 models" in done.out
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line[:2] in ("a.", "b.", "to")}
    assert rows["a.safetensors"] == ["25.00", "%", f"{worse.loss:.4f}"]
    assert rows["b.safetensors"] == rows["together"] == ["80.00", "%", f"{measured.report.loss:.4f}"]

    found = json.loads(command("evaluate", "a.safetensors", "b.safetensors", "pets", "--json").out)
    assert [(each["model"], each["top1"]) for each in found["members"]] == [
        ("a.safetensors", 0.25),
        ("b.safetensors", pytest.approx(0.8)),
    ]
    assert found["mean"] == "logits"
    assert found["top1"] == pytest.approx(0.8)


def test_views_are_passed_on_and_said(command: Command, job: Job, measured: SimpleNamespace) -> None:
    measured.views = "ten_crop"
    calls = job("evaluate", measured)
    done = command("evaluate", "m.safetensors", "pets", "--views", "ten_crop")
    assert calls[0][1]["views"] == "ten_crop"
    assert ["views", "ten_crop"] in [line.split() for line in done.out.splitlines()]
    assert command("evaluate", "m.safetensors", "pets", "--views", "twelve_crop").code == 2


def test_accuracy_by_several_right_labels_stands_beside_the_other(
    command: Command, job: Job, measured: SimpleNamespace
) -> None:
    measured.real = RealAccuracy(images=9, left_out=1, top1=8 / 9, top5=1.0, interval95=(0.5, 0.9))
    calls = job("evaluate", measured)
    done = command("evaluate", "m.safetensors", "pets", "--labels", "real.json")
    assert calls[0][1]["labels"] == Path("real.json")
    assert (
        "ReaL top-1         88.89 %  (95 % interval 50.00 to 90.00 %; 9 images; 1 without a label left out)" in done.out
    )
    found = json.loads(command("evaluate", "m.safetensors", "pets", "--labels", "real.json", "--json").out)
    assert found["real"] == {
        "images": 9,
        "left_out": 1,
        "top1": 8 / 9,
        "top1_low": 0.5,
        "top1_high": 0.9,
        "top5": 1.0,
    }


def test_a_source_must_be_named(command: Command, job: Job, measured: SimpleNamespace) -> None:
    job("evaluate", measured)
    assert command("evaluate", "m.safetensors").code == 2
