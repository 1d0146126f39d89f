"""Names of networks in, measured rows out."""

from __future__ import annotations

import json

import pytest
import torch

from neocog.errors import UnknownNameError, UsageError
from neocog.jobs import benchmarking
from neocog.jobs.benchmarking import benchmark
from neocog.jobs.listener import Listener


def measured(*specs: str, **options):
    return benchmark(specs or ("lenet5",), device="cpu", repeats=2, **options)


def test_there_is_a_row_for_each_network_in_each_setting():
    found = measured("lenet5", "lenet5", "lenet5_1998", batch=(1, 2), steps=("forward", "train"))
    rows = [(row.setting.batch, row.setting.step, row.network) for row in found.rows]
    assert rows == [
        (batch, step, network)
        for batch in (1, 2)
        for step in ("forward", "train")
        for network in ("lenet5", "lenet5_1998")
    ]
    assert {row.image for row in found.rows} == {(1, 32, 32)}
    settings = [row.setting for row in measured(layouts=("NCHW", "NHWC"), precisions=("fp32", "bf16")).rows]
    assert [(setting.precision, setting.layout) for setting in settings] == [
        ("fp32", "NCHW"),
        ("fp32", "NHWC"),
        ("bf16", "NCHW"),
        ("bf16", "NHWC"),
    ]


def test_rows_in_plain_types_hold_what_they_were_made_of():
    found = measured(batch=(4,))
    document = json.loads(json.dumps(found.to_dict()))
    (row,) = document["rows"]
    assert row["images_per_second"] == pytest.approx(4 / row["latency"])
    assert row["flops_per_second"] == pytest.approx(2 * row["macs"] / row["latency"])
    assert row["share_of_peak"] == pytest.approx(row["flops_per_second"] / row["peak_flops_per_second"])
    assert row["latency_low"] <= row["latency"] <= row["latency_high"]
    assert row["macs"] == 4 * 416_520
    assert row["runs"] == 2
    assert document["machine"]["threads"] == torch.get_num_threads()


def test_images_can_have_another_size():
    small, large = (measured("resnet20", size=size).rows[0] for size in (16, 32))
    assert small.image == (3, 16, 16)
    assert large.macs > 3.9 * small.macs


def test_a_network_of_ones_own_is_measured_with_its_own_weights(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text("from torch import nn\ndef net():\n    return nn.Conv2d(5, 2, 3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (row,) = measured("my_nets:net", image=(5, 10, 10)).rows
    assert (row.network, row.macs) == ("net", 8 * 8 * 2 * 5 * 9)


def test_the_number_of_threads_holds_for_the_measurement_alone(monkeypatch):
    before = torch.get_num_threads()
    found = measured(threads=before + 1)
    assert found.machine["threads"] == found.rows[0].threads == found.rows[0].peak.threads == before + 1
    assert torch.get_num_threads() == before


def test_threads_are_set_back_when_a_network_fails(monkeypatch):
    before = torch.get_num_threads()

    def failing(*args, **options):
        raise UsageError("no")

    monkeypatch.setattr(benchmarking, "prepare", failing)
    with pytest.raises(UsageError):
        measured(threads=before + 1)
    assert torch.get_num_threads() == before


def test_progress_is_told():
    heard = []

    class Ears(Listener):
        def begin(self, what, total, unit="images"):
            heard.append((what, total, unit))

        def advance(self, done, **figures):
            heard.append(done)

    measured("lenet5", "resnet20", batch=(3,), listener=Ears())
    assert heard == [
        ("preparing batch 3, forward", 2, "networks"),
        1,
        2,
        ("measuring batch 3, forward", 2, "rounds"),
        1,
        2,
    ]


def test_an_unknown_network_is_answered_with_near_ones():
    with pytest.raises(UsageError, match="unknown model 'resnet510'; did you mean resnet"):
        measured("lenet5", "resnet510")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch": (0,)}, UsageError, "at least 1 image"),
        ({"threads": 0}, UsageError, "at least 1 thread"),
        ({"steps": ("backward",)}, UnknownNameError, "one of forward, train"),
        ({"size": 2}, UsageError, "smaller|small"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        measured(**options)


def test_no_network_at_all_is_refused():
    with pytest.raises(UsageError, match="at least one network"):
        benchmark([])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="PyTorch sees no GPU"):
        benchmark(["lenet5"], device="cuda")
