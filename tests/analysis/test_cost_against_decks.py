"""The tables of the course's decks, to the digit, and the right number where a deck is wrong."""

from __future__ import annotations

import pytest
import torch
import torchvision.models as vision
from torch import Tensor, nn

from neocog import create_model
from neocog.analysis.blank import without_numbers
from neocog.analysis.cost import Cost, count_cost
from neocog.analysis.trace import trace_forward
from neocog.catalog import describe


def cost(network: nn.Module, *image: int) -> Cost:
    return count_cost(trace_forward(network, image))


# Seed 004, VGG-16: memory in numbers, parameters without biases

VGG16 = """
    CONV3-64 224x224x64 1728
    CONV3-64 224x224x64 36864
    POOL2 112x112x64 0
    CONV3-128 112x112x128 73728
    CONV3-128 112x112x128 147456
    POOL2 56x56x128 0
    CONV3-256 56x56x256 294912
    CONV3-256 56x56x256 589824
    CONV3-256 56x56x256 589824
    POOL2 28x28x256 0
    CONV3-512 28x28x512 1179648
    CONV3-512 28x28x512 2359296
    CONV3-512 28x28x512 2359296
    POOL2 14x14x512 0
    CONV3-512 14x14x512 2359296
    CONV3-512 14x14x512 2359296
    CONV3-512 14x14x512 2359296
    POOL2 7x7x512 0
    FC 1x1x4096 102760448
    FC 1x1x4096 16777216
    FC 1x1x1000 4096000
"""


def test_vgg16s_table_line_by_line():
    with without_numbers():
        network = vision.vgg16()
        network.avgpool = nn.Identity()  # torchvision's, not the paper's: it copies 7x7 maps to 7x7 maps
        for module in list(network.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.bias = None  # "not counting biases"
    counted = cost(network, 3, 224, 224)
    rows = [row for row in counted.rows if row.kind in ("Conv2d", "MaxPool2d", "Linear")]
    lines = [line.split() for line in VGG16.split("\n") if line.strip()]
    for row, (kind, memory, parameters) in zip(rows, lines, strict=True):
        height, width, channels = map(int, memory.split("x"))
        assert row.kind == {"CONV3": "Conv2d", "POOL2": "MaxPool2d", "FC": "Linear"}[kind.partition("-")[0]]
        assert row.shape[1:] in ((channels, height, width), (channels,))
        assert row.activation_bytes == 4 * height * width * channels
        assert row.parameters == int(parameters)
    others = [row for row in counted.rows if row not in rows]
    assert {row.kind for row in others} == {"ReLU"}  # in place: nothing of their own
    assert sum(row.activation_bytes + row.parameters for row in others) == 0
    assert counted.parameters == 138_344_128  # the deck's "138M"
    # The deck's "24M * 4 bytes ~ 96 MB" is not the sum of its own lines.
    assert counted.input_bytes == 4 * 150_528
    assert counted.activation_bytes == 4 * 15_237_608


def test_vgg16_of_torchvision_adds_biases_and_a_copy():
    with without_numbers():
        counted = cost(vision.vgg16(), 3, 224, 224)
    assert counted.parameters == 138_357_544
    assert counted.macs == 15_470_264_320
    assert counted.activation_bytes == 4 * (15_237_608 + 7 * 7 * 512)


def test_most_of_vgg16s_memory_is_in_early_convolutions_and_most_parameters_in_late_layers():
    with without_numbers():
        rows = cost(vision.vgg16(), 3, 224, 224).rows
    early = sum(row.activation_bytes for row in rows if row.name.startswith("features") and row.shape[-1] >= 112)
    assert early > 2 / 3 * sum(row.activation_bytes for row in rows)
    assert sum(row.parameters for row in rows if row.kind == "Linear") > 0.89 * 138_357_544


# Seed 004, the Inception module at 28x28x256


def conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class Inception(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def test_the_naive_inception_module():
    pool = nn.MaxPool2d(3, stride=1, padding=1)
    counted = cost(Inception(conv(256, 128, 1), conv(256, 192, 3), conv(256, 96, 5), pool), 256, 28, 28)
    macs = [row.macs for row in counted.rows if row.kind == "Conv2d"]
    assert macs == [28 * 28 * 128 * 256, 28 * 28 * 192 * 9 * 256, 28 * 28 * 96 * 25 * 256]
    assert counted.macs == 854_196_224  # the deck's "854M ops"
    assert counted.trace.outputs[0].shape == (1, 128 + 192 + 96 + 256, 28, 28)


def test_the_inception_module_with_bottlenecks():
    branches = (
        conv(256, 128, 1),
        nn.Sequential(conv(256, 64, 1), conv(64, 192, 3)),
        nn.Sequential(conv(256, 64, 1), conv(64, 96, 5)),
        nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(256, 64, 1)),
    )
    counted = cost(nn.Sequential(Inception(*branches)), 256, 28, 28)
    assert counted.macs == 271_351_808  # the deck says 358M: it adds the 3x3 convolution twice
    assert counted.macs + 28 * 28 * 192 * 9 * 64 == 358_055_936
    assert [row.macs for row in count_cost(counted.trace, "block").rows] == [271_351_808]


# Seed 002, formulas, with F' = F + (F - 1)(d - 1) for dilation


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (5, 2, 2, 1), (3, 1, 0, 2)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_standard_and_grouped_convolutions(kernel: int, stride: int, padding: int, dilation: int, groups: int):
    c_in, c_out, side = 8, 12, 7
    spread = kernel + (kernel - 1) * (dilation - 1)
    out = (side - spread + 2 * padding) // stride + 1
    layer = nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, groups, bias=False)
    row = cost(layer, c_in, side, side).rows[0]
    assert row.shape == (1, c_out, out, out)
    assert row.parameters == c_in // groups * kernel * kernel * c_out  # the deck's grouped count lacks a K
    assert row.macs == c_in // groups * kernel * kernel * out * out * c_out
    with_bias = nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, groups)
    # (C_in K² / G + 1) C_out; the deck has C_in (K² + 1) C_out.
    assert cost(with_bias, c_in, side, side).parameters == (c_in // groups * kernel * kernel + 1) * c_out
    assert cost(with_bias, c_in, side, side).macs == row.macs


def test_a_pointwise_convolution_costs_a_ninth_of_a_three_by_three():
    pointwise, full = (cost(conv(16, 32, kernel), 16, 10, 10) for kernel in (1, 3))
    assert pointwise.macs == 16 * 10 * 10 * 32
    assert full.macs == 9 * pointwise.macs  # "1/9 reduction": to one ninth


def test_a_depthwise_separable_convolution_costs_1_over_c_out_plus_1_over_k2():
    channels, c_out, kernel = 16, 32, 3
    depthwise = nn.Conv2d(channels, channels, kernel, padding=1, groups=channels, bias=False)
    separable = cost(nn.Sequential(depthwise, nn.Conv2d(channels, c_out, 1, bias=False)), channels, 10, 10)
    full = cost(nn.Conv2d(channels, c_out, kernel, padding=1, bias=False), channels, 10, 10)
    assert [row.macs for row in separable.rows] == [kernel**2 * 100 * channels, channels * c_out * 100]
    assert separable.macs / full.macs == pytest.approx(1 / c_out + 1 / kernel**2)
    assert separable.parameters == kernel**2 * channels + channels * c_out


def test_three_small_kernels_cost_27_to_49_of_a_large_one():
    stack = cost(nn.Sequential(*(nn.Conv2d(6, 6, 3, padding=1, bias=False) for _ in range(3))), 6, 12, 12)
    large = cost(nn.Conv2d(6, 6, 7, padding=3, bias=False), 6, 12, 12)
    assert (stack.parameters, large.parameters) == (27 * 36, 49 * 36)
    assert stack.macs * 49 == large.macs * 27


# Seed 003, ResNet's table, and other networks of the decks


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("resnet18", "1.814"),
        ("resnet34", "3.664"),
        ("resnet50_v1", "3.858"),  # the stride in the first 1x1 convolution, as published
        ("resnet101_v1", "7.570"),
        ("resnet152_v1", "11.282"),
        ("resnet50", "4.089"),
        ("resnet101", "7.801"),
        ("resnet152", "11.514"),
    ],
)
def test_resnets_multiply_adds(name: str, billions: str):
    with without_numbers():
        counted = cost(create_model(name), 3, 224, 224)
    assert f"{counted.macs / 1e9:.3f}" == billions
    assert counted.macs == describe(name).macs


def test_resnet_at_the_level_of_the_papers_table():
    with without_numbers():
        stages = count_cost(trace_forward(create_model("resnet50"), (3, 224, 224)), "stage").rows
    sizes = [row.shape[-1] for row in stages if len(row.shape) == 4 and row.macs]
    assert sizes == [112, 56, 28, 14, 7]  # conv1, conv2_x to conv5_x


def test_efficientnet_b0():
    with without_numbers():
        counted = cost(vision.efficientnet_b0(), 3, 224, 224)
    assert counted.parameters == 5_288_548
    assert f"{counted.macs / 1e9:.1f}" == "0.4"  # 0.39 B in the paper


@pytest.mark.parametrize(("name", "parameters"), [("lenet5_1998", 60_000), ("lenet5", 61_706)])
def test_lenet_layer_by_layer(name: str, parameters: int):
    counted = cost(create_model(name), 1, 32, 32)
    assert counted.parameters == parameters
    learned = [row.parameters for row in counted.rows if row.parameters]
    if name == "lenet5_1998":
        assert learned == [156, 12, 1_516, 32, 48_120, 10_164]
    else:
        assert learned == [156, 2_416, 48_120, 10_164, 850]


def test_alexnets_first_layers_at_227():
    first = nn.Sequential(nn.Conv2d(3, 96, 11, stride=4), nn.MaxPool2d(3, 2), nn.Conv2d(96, 256, 5, padding=2))
    shapes = [row.shape[1:] for row in cost(first, 3, 227, 227).rows]
    assert shapes == [(96, 55, 55), (96, 27, 27), (256, 27, 27)]
    assert cost(first[0], 3, 227, 227).parameters == 34_944
