"""`neocog benchmark` on small networks."""

from __future__ import annotations

import csv
import io
import json

import pytest


def run(command, *arguments: str):
    return command("benchmark", *arguments, "--device", "cpu", "--seconds", "0")


def test_the_table_says_what_was_measured_and_how(command):
    done = run(command, "lenet5", "lenet5_1998", "--batch", "1,2", "--step", "forward,train")
    assert done.code == 0
    table, notes = done.out.split("\n\n")
    lines = table.splitlines()
    assert lines[0].split() == ("network step batch latency 95 % interval images/s memory MACs GFLOP/s of peak".split())
    assert [line.split()[0] for line in lines[1:]] == ["lenet5", "lenet5_1998"] * 4
    assert "thread" in notes
    assert "input 1x32x32, precision fp32, layout NCHW, code eager" in notes
    assert "median of 6 runs" in notes
    assert "in the fastest matrix product seen here" in notes
    assert "SGD with momentum" in notes


def test_json_and_csv_hold_the_same_rows(command):
    document = json.loads(run(command, "lenet5", "--batch", "2", "--layout", "nchw,nhwc", "--json").out)
    rows = list(
        csv.DictReader(io.StringIO(run(command, "lenet5", "--batch", "2", "--layout", "NCHW,NHWC", "--csv").out))
    )
    assert [row["layout"] for row in document["rows"]] == [row["layout"] for row in rows] == ["NCHW", "NHWC"]
    assert list(rows[0]) == list(document["rows"][0])
    assert rows[0]["image"] == "1x32x32"
    assert float(rows[0]["images_per_second"]) == pytest.approx(2 / float(rows[0]["latency"]))


def test_bf16_says_what_is_bf16(command):
    assert "bf16         under autocast" in run(command, "lenet5", "--precision", "bf16").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet4"], "unknown model 'lenet4'; did you mean lenet5"),
        (["lenet5", "--batch", "0"], "--batch takes numbers of images above 0, such as 1,32; not '0'"),
        (["lenet5", "--batch", "1;2"], "--batch takes numbers"),
        (["lenet5", "--step", "forwards"], "--step, which takes forward or train: 'forwards'; did you mean forward"),
        (["lenet5", "--precision", "fp8"], "unknown --precision, which takes fp32 or bf16: 'fp8'"),
        (["lenet5", "--image-size", "3"], "lenet5"),
    ],
)
def test_what_cannot_be_meant_is_one_line(command, arguments, message):
    done = run(command, *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
