"""ResNet-C and -D are timm's, and differ from ResNet-50 where figure 2 says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    logits_differ_by,
    multiply_adds,
    overwritten_outputs,
    randomise,
    shapes,
    stage_shapes,
)
from torch import nn
from torch.nn import functional as F

from neocog.errors import UsageError
from neocog.layers.residual import averaged_shortcut
from neocog.models import create_model
from neocog.models.resnet_d import CONFIGS, ResNetD

QUICK = ["resnet18d", "resnet50c", "resnet26t"]
"""One of each block, shortcut and kind of stem."""


def build(name: str, **edits: object) -> ResNetD:
    return ResNetD(replace(CONFIGS[name], **edits))


def test_all_of_timms_are_there():
    letters = {name for name in timm.list_models("resnet*") if name[6:-1].isdigit() and name[-1] in "cdst"}
    assert letters == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_names_and_shapes_are_timms(name: str):
    with torch.device("meta"):
        assert shapes(build(name)) == shapes(timm.create_model(name))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS]
)
def test_logits_are_timms_also_where_a_side_is_odd(name: str):
    assert logits_differ_by(build(name), timm.create_model(name), 3, 65, 72, gain=1.4) < 1e-5


@pytest.mark.parametrize("name", ["resnet10t", pytest.param("resnet101d", marks=pytest.mark.slow)])
def test_a_training_step_is_timms_in_float64(name: str):
    assert_equal_training_steps(build(name, num_classes=7), timm.create_model(name, num_classes=7), 3, 64, 64)


@pytest.mark.parametrize(("name", "billions"), [("resnet50c", "4.3"), ("resnet50d", "4.3")])
def test_multiply_adds_are_those_of_table_5(name: str, billions: str):
    with torch.device("meta"):
        assert f"{multiply_adds(build(name), 3, 224, 224) / 1e9:.1f}" == billions


def test_b_is_the_resnet_50_that_timm_and_torchvision_have():
    """Table 5 counts 4.1 billion multiply-adds for it; its strides stand in the 3x3, as in C and D."""
    with torch.device("meta"):
        b = create_model("resnet50", weights=None)
        assert f"{multiply_adds(b, 3, 224, 224) / 1e9:.1f}" == "4.1"
        for network in (b, build("resnet50c"), build("resnet50d")):
            first, second = (network.get_submodule(f"layer2.0.conv{number}") for number in (1, 2))
            assert (first.stride, second.stride) == ((1, 1), (2, 2))


def test_c_and_d_have_the_same_parameters_and_differ_in_shortcuts_alone():
    with torch.device("meta"):
        c, d = build("resnet50c"), build("resnet50d")
    counts = [[parameter.numel() for parameter in network.parameters()] for network in (c, d)]
    assert counts[0] == counts[1]
    differing = {name for name, shape in shapes(d).items() if shapes(c).get(name) != shape}
    assert differing
    assert all(".0.downsample." in name for name in differing)


@pytest.mark.parametrize("side", [6, 7])
def test_the_shortcut_averages_before_it_projects(side: int):
    shortcut = averaged_shortcut(3, 5, stride=2).eval()
    randomise(shortcut)
    images = torch.randn(2, 3, side, side)
    means = torch.stack(
        [
            torch.stack([images[..., i : i + 2, j : j + 2].mean((2, 3)) for j in range(0, side, 2)], -1)
            for i in range(0, side, 2)
        ],
        -2,
    )
    conv, norm = shortcut[1], shortcut[2]
    assert torch.allclose(shortcut(images), norm(F.conv2d(means, conv.weight)), atol=1e-6)


def test_a_shortcut_that_keeps_its_shape_is_none():
    assert isinstance(averaged_shortcut(4, 4, stride=1), nn.Identity)
    assert isinstance(averaged_shortcut(4, 8, stride=1)[0], nn.Identity)


def test_every_pixel_reaches_the_next_stage_by_the_shortcut_of_d_and_a_quarter_of_them_by_that_of_c():
    seen = {}
    for name in ("resnet50c", "resnet50d"):
        shortcut = build(name, depths=(1, 1)).get_submodule("layer2.0.downsample").eval()
        images = torch.ones(1, 256, 8, 8, requires_grad=True)
        shortcut(images).sum().backward()
        seen[name] = int(images.grad[0].abs().sum(0).count_nonzero())
    assert seen == {"resnet50c": 16, "resnet50d": 64}


@pytest.mark.parametrize("name", ["resnet18d", "resnet50c", "resnet50s"])
def test_blocks_begin_as_copies(name: str):
    network = build(name, depths=(2,))
    network.init_weights()
    block = network.get_submodule("layer1.1")
    images = torch.rand(2, block.out_channels, 8, 8)
    assert torch.equal(block(images), images)


@pytest.mark.parametrize("name", ["resnet18d", "resnet50d", "resnet50s"])
def test_every_parameter_is_trained(name: str):
    network = build(name, depths=(1, 1), width=8, num_classes=3)
    network.init_weights = lambda: randomise(network)  # behind a norm at zero nothing has a gradient
    assert_every_parameter_is_trained(network, torch.randn(3, 3, 32, 32))


@pytest.mark.parametrize("name", ["resnet18d", "resnet50d"])
def test_no_output_of_a_module_is_overwritten(name: str):
    assert overwritten_outputs(build(name, depths=(1, 1)), torch.randn(2, 3, 32, 32)) == []


def test_small_images_have_a_stem_of_their_own_and_averages_still():
    network = build("resnet18d", stem="small", depths=(1, 1, 1), width=16)
    assert stage_shapes(network, 3, 32, 32) == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert isinstance(network.get_submodule("layer2.0.downsample.0"), nn.AvgPool2d)
    assert network.stem_name == "conv1"


@pytest.mark.parametrize("widths", [(0, 32, 64), (32, 32), (32, 32, -1)])
def test_a_stem_without_filters_is_refused(widths: tuple[int, ...]):
    with pytest.raises(UsageError, match="three convolutions"):
        build("resnet50d", stem_widths=widths)
