from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from neocog.catalog import describe

Command = Callable[..., SimpleNamespace]


def test_the_table_marks_the_front_and_names_what_is_not_drawn(command: Command) -> None:
    done = command("compare", "mobilenetv2_035", "mobilenetv2_050", "resnet20")
    assert done.code == 0
    heading, *lines = done.out.splitlines()
    assert heading.split()[:3] == ["network", "top-1", "front"]
    assert lines[0].split()[:5] == ["mobilenetv2_035", "60.3", "*", "3x224x224", "59.3M"]
    assert "8.75 % error" in lines[2]
    assert "not drawn resnet20" in done.out


def test_the_page_and_the_picture_are_named(command: Command, tmp_path: Path) -> None:
    done = command("compare", "mobilenetv2_0*", "-o", str(tmp_path / "chart.html"))
    assert done.out.splitlines()[-2:] == [
        f"page      {tmp_path / 'chart.html'}",
        f"picture   {tmp_path / 'chart.png'}",
    ]
    assert (tmp_path / "chart.png").is_file()


def test_csv_holds_exact_numbers(command: Command) -> None:
    rows = list(csv.DictReader(io.StringIO(command("compare", "mobilenetv2_1*", "--csv", "--sort", "name").out)))
    drawn = [row for row in rows if not row["not_drawn"]]
    assert [row["name"] for row in drawn] == ["mobilenetv2_100", "mobilenetv2_130", "mobilenetv2_140"]
    assert int(drawn[0]["macs"]) == describe("mobilenetv2_100").macs
    assert drawn[0]["image"] == "3x224x224"


def test_json_holds_the_rows_and_the_front(command: Command) -> None:
    found = json.loads(command("compare", "mobilenetv2_035", "--json").out)
    assert found["front"] == ["mobilenetv2_035"]
    assert found["rows"][0]["accuracy"] == describe("mobilenetv2_035").top1


def test_options_reach_the_job(command: Command) -> None:
    found = json.loads(
        command("compare", "resnet18", "--all-weights", "--tag", "a?_in1k", "--image-size", "224", "--json").out
    )
    assert {row["label"]: bool(row["not_drawn"]) for row in found["rows"]} == {
        "resnet18.a1_in1k": True,
        "resnet18.a2_in1k": True,
        "resnet18.a3_in1k": False,
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mobilenet*", "resnett18"], "resnet18"),
        (["mobilenet*", "-o", "chart.doc"], ".html"),
        (["resnet18", "--tag", "a1_in1"], "a1_in1k"),
        (["resnet18", "--sort", "throughput"], "x axis"),
    ],
)
def test_what_cannot_be_meant_is_one_line(command: Command, arguments: list[str], said: str) -> None:
    done = command("compare", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
