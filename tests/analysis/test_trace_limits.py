"""What a pass cannot do is said in one line, and whatever happens the network stays as it was."""

from __future__ import annotations

import contextlib
import gc
import random
import weakref
from typing import Any

import pytest
import timm
import torch
import torchvision.models as vision
from torch import Tensor, nn

from neocog.analysis.blank import without_numbers
from neocog.analysis.cost import Cost, count_cost
from neocog.analysis.trace import NoNumbersError, trace_forward
from neocog.errors import UnknownNameError, UsageError


def cost(network: nn.Module, *image: int, **settings: Any) -> Cost:
    return count_cost(trace_forward(network, image, **settings))


# What cannot run on meta


class Depends(nn.Module):
    """Decides by its numbers, draws random ones, keeps what it computed, and updates statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.conv(x)))
        self.scale = random.random() + float(torch.rand(()))
        if x.sum() > 1e9:
            x = x * 2
        self.cache = x
        return x


def test_a_network_that_looks_at_its_numbers_is_run_on_the_cpu_and_the_trace_says_why():
    trace = trace_forward(Depends(), (3, 8, 8))
    assert trace.device == "cpu"
    assert trace.fallback.startswith("test_trace_limits.py, line ")
    assert "meta tensors" in trace.fallback
    assert count_cost(trace).macs == 36 * 108
    assert [row.name for row in count_cost(trace).rows[:2]] == ["conv", "norm"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", [Depends, lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())])
def test_the_network_and_the_random_numbers_stay_as_they_were(make: Any, training: bool):
    network = make()
    network.train()
    first = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    first.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = dict(network.state_dict(keep_vars=True))
    attributes = [dict(vars(module)) for module in network.modules()]
    states = (torch.get_rng_state(), random.getstate())
    trace_forward(network, (3, 8, 8), batch=2, training=training)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(tensors[name] is tensor for name, tensor in network.state_dict(keep_vars=True).items())
    assert [dict(vars(module)) for module in network.modules()] == attributes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not torch.nn.modules.module._global_forward_hooks


@pytest.mark.parametrize("make", [Depends, lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), lambda: nn.Conv2d(5, 4, 3)])
def test_the_network_is_let_go(make: Any):
    network = make()
    gone = weakref.ref(network)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(UsageError):
            trace_forward(network, (3, 8, 8))
        del network
        assert gone() is None
    finally:
        gc.enable()


def test_a_failure_too_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)).train()
    with pytest.raises(UsageError):
        trace_forward(network, (3, 8, 8))
    assert network.training
    assert not torch.nn.modules.module._global_forward_hooks
    assert network[0](torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_a_network_without_numbers_that_needs_some_says_so():
    with without_numbers():
        network = Depends()
    with pytest.raises(NoNumbersError, match="meta tensors"):
        trace_forward(network, (3, 8, 8))


# What is refused


def test_a_forward_with_other_arguments_is_refused():
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    class None_(nn.Module):
        def forward(self) -> int:
            return 1

    for network in (Two(), None_()):
        with pytest.raises(UsageError, match="takes other arguments than one tensor of 1x3x8x8"):
            trace_forward(network, (3, 8, 8))


@pytest.mark.parametrize(
    ("make", "image", "said"),
    [
        (
            vision.alexnet,
            (3, 32, 32),
            r"in features\.12 \(MaxPool2d\), given 1x256x1x1; alexnet\.py, line \d+: .*too small",
        ),
        (
            lambda: vision.inception_v3(init_weights=False),
            (3, 60, 60),
            r"in Mixed_7a\.branch3x3_2\.conv \(Conv2d\), given 1x192x2x2; .*can't be greater than actual input size",
        ),
        (lambda: timm.create_model("vit_tiny_patch16_224"), (3, 100, 100), r"in patch_embed .*Input height \(100\)"),
        (
            lambda: timm.create_model("resnet18"),
            (1, 64, 64),
            r"in conv1 \(Conv2d\), given 1x1x64x64; resnet\.py, line \d+",
        ),
    ],
    ids=["too small for a pool", "too small for a convolution", "another size", "other channels"],
)
def test_an_input_that_does_not_fit_is_refused_with_the_layers_name(make: Any, image: tuple[int, ...], said: str):
    with without_numbers():
        network = make()
    with pytest.raises(UsageError, match=said) as raised:
        trace_forward(network, image)
    assert "\n" not in str(raised.value)


def test_a_tensor_that_becomes_empty_is_refused_though_torch_goes_on():
    class Crop(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 8:, 8:]

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Crop(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert trace_forward(network, (3, 16, 16)).outputs[0].shape == (1, 2)
    with pytest.raises(UsageError, match="the output of slice in 1 became empty, 1x4x0x6; the input is too small"):
        trace_forward(network, (3, 8, 8))


def test_an_empty_part_that_nothing_comes_of_is_no_failure():
    class Prefix(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[:, :0], x], dim=1)

    assert trace_forward(Prefix(), (4, 8)).outputs[0].shape == (1, 4, 8)


def test_whatever_a_forward_raises_is_one_line_with_its_place():
    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("stem")

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.silent, self.body = nn.Identity(), Raises()

        def forward(self, x: Tensor) -> Tensor:
            self.silent(x)
            return self.body(x)

    with pytest.raises(
        UsageError, match=r"in body \(Raises\), given 1x3x8x8; test_trace_limits\.py, line \d+: KeyError: 'stem'"
    ):
        trace_forward(Outer(), (3, 8, 8))


@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.LazyConv2d(4, 3)), lambda: torch.jit.script(nn.ReLU())])
@pytest.mark.filterwarnings("ignore")
def test_lazy_and_scripted_modules_are_refused_in_one_line(make: Any):
    network = make()
    with pytest.raises(UsageError) as raised:
        trace_forward(network, (3, 8, 8))
    assert "\n" not in str(raised.value)
    assert network.training


def test_an_unknown_layer_is_answered_with_near_names():
    trace = trace_forward(nn.Sequential(nn.Conv2d(3, 4, 3)), (3, 8, 8), name="small")
    with pytest.raises(UnknownNameError, match="neocog describe small"):
        trace.call("1")
