"""How fast networks run: what is measured is consistent, and leaves them as they were. No test here looks at a time."""

from __future__ import annotations

import sys
from statistics import median

import pytest
import torch
from torch import nn

from neocog.analysis import _prepared
from neocog.analysis._clock import median_interval
from neocog.analysis._prepared import Prepared
from neocog.analysis.throughput import Setting, measure, measure_in_turn, prepare
from neocog.errors import UnknownNameError, UsageError
from neocog.models import create_model

IMAGE = (3, 32, 32)


class Small(nn.Module):
    """A convolution, a norm and a head, with an auxiliary output in training, as GoogLeNet has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        maps = self.norm(self.conv(x)).relu()
        logits = self.fc(maps.mean((2, 3)))
        return {"out": logits, "aux": (maps,)} if self.training else logits


def quick(network=None, image=IMAGE, **options):
    return measure(network or Small(), image, repeats=7, warmup=1, **options)


@pytest.mark.parametrize("step", ["forward", "train"])
def test_figures_follow_from_the_times(step):
    found = quick(batch=4, step=step)
    assert len(found.times) == 7
    assert found.latency == median(found.times)
    assert found.interval == median_interval(found.times)
    assert found.images_per_second == pytest.approx(4 / found.latency)
    assert found.flops == pytest.approx(2 * found.macs / found.latency)
    assert found.share == pytest.approx(found.flops / found.peak.flops)
    assert (found.threads, found.peak.precision) == (torch.get_num_threads(), "fp32")


def test_the_share_of_the_peak_is_a_share():
    # A large matrix product is all that this network does.
    found = quick(nn.Linear(1024, 1024, bias=False), (1024,), batch=1024)
    assert 0 < found.share <= 1.1
    assert 0 < quick().share <= 1.1


def test_multiply_adds_are_those_of_the_batch_and_of_both_passes():
    convolution, head = 32 * 32 * 8 * 27, 8 * 5
    assert quick(batch=3).macs == 3 * (convolution + head)
    # Backward: by weights and by inputs, but not by the images.
    assert quick(batch=3, step="train").macs == 3 * (2 * convolution + 3 * head)


def test_what_is_held_between_runs_is_counted_to_the_byte():
    network, images = Small(), 2 * 3 * 32 * 32 * 4
    weights = sum(parameter.numel() for parameter in network.parameters()) * 4
    buffers = 2 * 8 * 4 + 8
    assert quick(network, batch=2).state_bytes == images + weights + buffers
    assert quick(network, batch=2, step="train").state_bytes == images + 2 * weights + buffers  # momentum
    assert quick(network, batch=2, precision="bf16").state_bytes == (images + weights + buffers - 8) // 2 + 8


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own account of memory is Linux's")
def test_memory_of_a_run_holds_the_largest_activations():
    network = nn.Sequential(nn.Conv2d(1, 64, 1), nn.ReLU(), nn.Conv2d(64, 1, 1))
    found = quick(network, (1, 256, 256), batch=1)
    maps = 64 * 256 * 256 * 4
    # The activation's input and output are there at once; a library may take as much again to arrange them.
    assert 1.96 * maps <= found.step_bytes <= 4 * maps
    assert found.memory_bytes == found.state_bytes + found.step_bytes


@pytest.mark.parametrize("step", ["forward", "train"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_network_is_left_as_it_was(step, precision, layout):
    network = Small()
    network.norm.eval()
    network.conv.weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    quick(network, batch=2, step=step, precision=precision, layout=layout)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.dtype == before[name].dtype
        assert tensor.stride() == before[name].stride()
    assert network.training
    assert not network.norm.training
    assert not network.conv.weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_layout_precision_and_mode_are_those_that_are_asked_for():
    seen = []

    class Watching(Small):
        def forward(self, x):
            seen.append((x.dtype, x.is_contiguous(memory_format=torch.channels_last), self.training))
            seen.append((self.conv.weight.dtype, self.conv.weight.stride()[1] == 1, torch.is_autocast_enabled("cpu")))
            return super().forward(x)

    network = Watching()
    for options, expected in (
        ({}, [(torch.float32, False, False), (torch.float32, False, False)]),
        ({"layout": "NHWC"}, [(torch.float32, True, False), (torch.float32, True, False)]),
        ({"precision": "bf16"}, [(torch.bfloat16, False, False), (torch.bfloat16, False, True)]),
        ({"precision": "bf16", "step": "train"}, [(torch.float32, False, True), (torch.float32, False, True)]),
    ):
        quick(network, batch=2, **options)
        assert seen[-2:] == expected


def test_a_training_step_updates_by_nothing():
    prepared = Prepared(
        Small(), (2, *IMAGE), "small", training=True, dtype=torch.float32, channels_last=False, compiled=False,
        device="cpu",
    )  # fmt: skip
    before = [parameter.clone() for parameter in prepared.network.parameters()]
    prepared.run()
    assert all(torch.equal(old, new) for old, new in zip(before, prepared.network.parameters(), strict=True))
    assert prepared.optimizer is not None
    assert all(state["momentum_buffer"].abs().sum() > 0 for state in list(prepared.optimizer.state.values())[-2:])
    assert all(parameter.grad is None for parameter in prepared.network.parameters())


def test_networks_run_in_turn_and_each_is_first_in_some_round():
    order = []

    class Named(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name, self.fc = name, nn.Linear(4, 4)

        def forward(self, x):
            order.append(self.name)
            return self.fc(x)

    candidates = [prepare(Named(name), (4,), Setting(), name=name, warmup=1) for name in "abc"]
    for each in candidates:
        each.warm = 1.0  # no second run before each, as short ones have
    order.clear()
    rounds = []
    found = measure_in_turn(candidates, repeats=3, progress=lambda done, total: rounds.append((done, total)))
    assert "".join(order[:9]) == "abcbcacab"
    assert rounds == [(1, 3), (2, 3), (3, 3)]
    assert [each.network for each in found] == ["a", "b", "c"]
    assert all(len(each.times) == 3 for each in found)


def test_six_runs_are_made_however_little_time_there_is():
    assert len(measure(Small(), IMAGE, seconds=0.0, warmup=1).times) == 6


def test_networks_of_the_catalog_and_vectors_can_be_measured():
    assert quick(create_model("lenet5"), (1, 32, 32), batch=2).macs == 2 * 416_520
    assert quick(nn.Linear(7, 3), (7,), batch=5).macs == 5 * 21


def test_what_no_rule_counts_is_named():
    class Sorting(Small):
        def forward(self, x):
            return super().forward(torch.fft.ifft2(torch.fft.fft2(x)).real)

    assert "_fft_c2c" in quick(Sorting()).uncounted
    assert quick().uncounted == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "at least 1 image, not 0"),
        ({"device": "tpu"}, "use cpu, cuda or cuda:N"),
        ({"image": (7,), "layout": "NHWC", "network": nn.Linear(7, 3)}, "NHWC is a layout of images"),
        ({"network": nn.Flatten(), "step": "train"}, "no parameter to train"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        quick(**options)


@pytest.mark.parametrize("wrong", [{"step": "forwards"}, {"precision": "bf61"}, {"layout": "NHWV"}])
def test_a_wrong_word_is_answered_with_the_right_ones(wrong):
    (name,) = wrong.values()
    with pytest.raises(UnknownNameError, match=f"'{name}'; did you mean"):
        quick(**wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="'cuda' was asked for, but PyTorch sees no GPU"):
        quick(device="cuda")


def test_a_network_without_numbers_is_refused():
    with torch.device("meta"):
        network = Small()
    with pytest.raises(UsageError, match="on the meta device"):
        quick(network)


def test_a_network_that_cannot_run_so_is_refused_in_a_line():
    class Fussy(Small):
        def forward(self, x):
            if x.dtype == torch.bfloat16:
                raise RuntimeError("only float32 here\nand more")
            return super().forward(x)

    with pytest.raises(UsageError, match=r"Fussy cannot run so: RuntimeError: only float32 here$"):
        quick(Fussy(), precision="bf16")


def test_a_failed_compilation_is_told_in_a_line(monkeypatch):
    def broken(network, **options):
        def run(images):
            raise RuntimeError("CppCompileError: no C++ compiler\n  in this long trace")

        return run

    monkeypatch.setattr(_prepared.torch, "compile", broken)
    with pytest.raises(
        UsageError, match="Small cannot be compiled here: RuntimeError: CppCompileError: no C\\+\\+ compiler;"
    ):
        quick(compiled=True)


def test_lack_of_memory_is_not_blamed_on_the_network(monkeypatch):
    def hungry(network, **options):
        def run(images):
            raise torch.OutOfMemoryError("gone")

        return run

    monkeypatch.setattr(_prepared.torch, "compile", hungry)
    with pytest.raises(torch.OutOfMemoryError):
        quick(compiled=True)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["forward", "train"])
def test_ten_networks_of_one_class_are_all_compiled(step):
    from torch._dynamo.utils import counters

    counters.clear()
    candidates = [
        prepare(nn.Sequential(nn.Linear(width, 4), nn.ReLU()), (width,), Setting(compiled=True, step=step, batch=2))
        for width in range(5, 15)
    ]
    assert counters["stats"]["unique_graphs"] == 10
    assert all(len(each.times) == 6 for each in measure_in_turn(candidates, repeats=6))
    assert counters["stats"]["unique_graphs"] == 10
