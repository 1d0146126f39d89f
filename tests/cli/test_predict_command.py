from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from neocog.inference.prediction import Prediction

Command = Callable[..., SimpleNamespace]
Job = Callable[..., list]


def test_piped_predictions_are_tab_separated(command: Command, job: Job, predictions: list[Prediction]) -> None:
    calls = job("predict", predictions)
    done = command("predict", "m.safetensors", "a b.jpg", "dir", "--top", "2")
    assert done.out.splitlines() == ["a b.jpg\tants\t0.7500\tbees\t0.2500", "ü.jpg\tbees\t0.9000\tants\t0.1000"]
    assert calls[0][0] == ("m.safetensors", ["a b.jpg", "dir"])
    assert calls[0][1]["top"] == 2


def test_a_bad_file_is_named_skipped_and_told_by_the_exit_code(
    command: Command, job: Job, predictions: list[Prediction]
) -> None:
    job("predict", predictions)
    done = command("predict", "m.safetensors", "dir")
    assert done.code == 7
    assert done.err.splitlines() == [
        "neocog: skipped: bad.jpg is empty; delete it",
        "neocog: 1 of 3 images were skipped",
    ]
    job("predict", predictions[:1])
    assert command("predict", "m.safetensors", "dir").code == 0


def test_json_holds_the_skipped_with_their_reasons(command: Command, job: Job, predictions: list[Prediction]) -> None:
    job("predict", predictions)
    done = command("predict", "m.safetensors", "dir", "--json")
    first, second, third = json.loads(done.out)
    assert done.code == 7
    assert first["predictions"][0] == {"class": "ants", "score": 0.75}
    assert second["error"].startswith("bad.jpg is empty")
    assert third["path"] == "ü.jpg"


def test_csv_is_written_beside_the_table(
    command: Command, job: Job, predictions: list[Prediction], tmp_path: Path
) -> None:
    job("predict", predictions)
    done = command("predict", "m.safetensors", "dir", "--csv", str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["a b.jpg", "bad\t1.jpg", "ü.jpg"]
    assert len(done.out.splitlines()) == 2


def test_standard_input_is_passed_on_as_a_dash(command: Command, job: Job, predictions: list[Prediction]) -> None:
    calls = job("predict", predictions)
    command("predict", "m.safetensors", "-")
    assert calls[0][0][1] == ["-"]


def test_views_are_passed_on(command: Command, job: Job, predictions: list[Prediction]) -> None:
    calls = job("predict", predictions)
    command("predict", "m.safetensors", "dir")
    command("predict", "m.safetensors", "dir", "--views", "flip")
    assert [call[1]["views"] for call in calls] == ["centre", "flip"]
