"""`neocog receptive-field` on small networks."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    return path


def test_the_table_has_a_line_for_each_layer(command):
    done = command("receptive-field", "resnet18", "--level", "block")
    assert done.code == 0
    table, notes = done.out.split("\n\n")
    lines = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert lines["name"] == "type output size stride padding centre paths".split()
    assert lines["layer3.0"] == "BasicBlock 256x14x14 147 16 73 0 11 to 147".split()
    assert lines["fc"][:3] == "Linear 1000 global".split()
    assert "resnet18, an image of 3x224x224" in notes


def test_json_and_csv_hold_the_same_rows(command):
    document = json.loads(command("receptive-field", "resnet20", "--level", "stage", "--json").out)
    rows = list(csv.DictReader(io.StringIO(command("receptive-field", "resnet20", "--level", "stage", "--csv").out)))
    assert [row["name"] for row in rows] == [row["name"] for row in document["rows"]]
    assert [float(row["stride_rows"]) for row in rows[:3]] == [row["stride"][0] for row in document["rows"][:3]]
    assert rows[-1]["size_rows"] == rows[-1]["size_columns"] == "global"


def test_growth_is_drawn(command, tmp_path):
    done = command("receptive-field", "resnet20", "-o", str(tmp_path / "growth.png"))
    assert done.code == 0
    assert f"figure       {tmp_path / 'growth.png'}" in done.out
    assert Image.open(tmp_path / "growth.png").width > 1000


def test_a_layer_is_measured_and_drawn_on_a_photograph(command, tmp_path, photograph, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("receptive-field", "resnet20", "--layer", "layer2.0", "--on", str(photograph))
    assert done.code == 0
    assert "can see      " in done.out
    assert "pixels a side, 95 % within" in done.out
    assert (tmp_path / "receptive-field.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet20", "--layer", "layer2.O"], "unknown layer 'layer2.O'; did you mean layer2"),
        (["resnet20", "--on", "photo.jpg"], "name it with --layer"),
        (["resnet21"], "unknown model 'resnet21'"),
        (["lenet5", "--image-size", "3"], "lenet5"),
    ],
)
def test_what_cannot_be_meant_is_one_line(command, arguments, message):
    done = command("receptive-field", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
