"""Wide residual networks: the authors' for CIFAR, and the wide bottlenecks of timm and torchvision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    batch_norm,
    differs_from_reading_by,
    logits_differ_by,
    overwritten_outputs,
    randomise,
    shapes,
    stage_shapes,
    steps_to_learn_digits,
)
from torch import Tensor

from neocog.analysis.blank import without_numbers
from neocog.errors import UsageError
from neocog.models.wide_resnet import CONFIGS, WideBottleneckResNet, WideResNet, make_network

IN_TIMM = ["wide_resnet50_2", "wide_resnet101_2"]
FOR_CIFAR = ["wide_resnet16_8", "wide_resnet28_10", "wide_resnet40_4"]


def build(name: str, **edits: object) -> WideResNet | WideBottleneckResNet:
    return make_network(replace(CONFIGS[name], **edits))


@pytest.mark.parametrize("name", IN_TIMM)
def test_names_and_shapes_are_timms_and_torchvisions(name: str):
    with without_numbers():
        ours = shapes(build(name))
        assert ours == shapes(timm.create_model(name))
        assert ours == shapes(torchvision.models.get_model(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_TIMM)
def test_logits_are_timms(name: str):
    assert logits_differ_by(build(name), timm.create_model(name), 3, 64, 64) < 1e-5


@pytest.mark.slow
def test_logits_of_a_shallow_one_are_torchvisions():
    theirs = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=128)
    assert logits_differ_by(build("wide_resnet50_2", depths=(1, 1, 1, 1)), theirs, 3, 64, 75) < 1e-5


@pytest.mark.parametrize(
    ("name", "depths"),
    [("wide_resnet50_2", (1, 1, 1, 1)), pytest.param("wide_resnet101_2", (3, 4, 23, 3), marks=pytest.mark.slow)],
)
def test_a_training_step_is_timms_in_float64(name: str, depths: tuple[int, ...]):
    bottleneck = timm.models.resnet.Bottleneck
    theirs = timm.models.resnet.ResNet(block=bottleneck, layers=depths, base_width=128, num_classes=7)
    assert_equal_training_steps(build(name, depths=depths, num_classes=7), theirs, 3, 32, 32)


def authors_logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The authors' functional network, from the parameters and their names alone."""

    def activate(x: Tensor, at: str) -> Tensor:
        return batch_norm(x, state, at).relu()

    x = F.conv2d(x, state["conv0.weight"], padding=1)
    for at in (name.removesuffix(".conv0.weight") for name in state if name.endswith(".conv0.weight")):
        stride = 2 if at in ("group1.block0", "group2.block0") else 1
        activated = activate(x, f"{at}.bn0")
        y = F.conv2d(activated, state[f"{at}.conv0.weight"], stride=stride, padding=1)
        y = F.conv2d(activate(y, f"{at}.bn1"), state[f"{at}.conv1.weight"], padding=1)
        if f"{at}.convdim.weight" in state:
            x = F.conv2d(activated, state[f"{at}.convdim.weight"], stride=stride)
        x = x + y
    return F.linear(activate(x, "bn").mean((2, 3)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize(("depth", "widening"), [(16, 2), (22, 1), (10, 3)])
def test_the_network_for_cifar_is_the_authors(depth: int, widening: int):
    network = build("wide_resnet16_8", depth=depth, widening=widening)
    assert differs_from_reading_by(network, authors_logits, 3, 32, 32) < 1e-5


@pytest.mark.parametrize(
    ("name", "millions"), [("wide_resnet16_8", "11.0"), ("wide_resnet28_10", "36.5"), ("wide_resnet40_4", "8.9")]
)
def test_parameters_are_those_of_table_5(name: str, millions: str):
    with torch.device("meta"):
        network = build(name)
    assert f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.1f}" == millions


@pytest.mark.parametrize("name", FOR_CIFAR)
def test_the_name_says_layers_and_widening(name: str):
    """As in table 1 and section 3: projections count among the layers, of which there are 6 N + 4."""
    with torch.device("meta"):
        state = shapes(build(name))
    depth, widening = map(int, name.removeprefix("wide_resnet").split("_"))
    assert sum(len(shape) in (2, 4) for shape in state.values()) == depth + 1  # the paper leaves out the head
    assert state["group2.block0.conv1.weight"][0] == 64 * widening


def test_dropout_is_between_the_convolutions_and_in_training_alone():
    network = build("wide_resnet16_8", widening=1, dropout=0.999)
    randomise(network)
    images = torch.randn(2, 3, 8, 8)
    plain = build("wide_resnet16_8", widening=1)
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(images), plain.eval()(images))

    block, x = network.get_submodule("group0.block1").train(), torch.randn(2, 16, 8, 8)
    torch.manual_seed(0)
    dropped = (block(x) - x).detach()  # F, of hardly any values
    assert (dropped == 0).float().mean() > 0.7


@pytest.mark.parametrize("edits", [{}, {"dropout": 0.3}, {"widening": 1}])
def test_the_network_for_cifar_trains_with_finite_gradients_everywhere(edits: dict[str, object]):
    torch.manual_seed(0)
    network = build("wide_resnet16_8", **{"depth": 10, "widening": 2, "num_classes": 3, **edits})
    assert_every_parameter_is_trained(network, torch.randn(3, 3, 16, 16))


def test_digits_are_learned():
    torch.manual_seed(0)
    assert steps_to_learn_digits(build("wide_resnet16_8", depth=10, widening=1), limit=100) <= 100


@pytest.mark.parametrize(
    ("name", "edits"), [("wide_resnet16_8", {"widening": 1}), ("wide_resnet50_2", {"depths": (1, 1)})]
)
def test_no_output_of_a_module_is_overwritten(name: str, edits: dict[str, object]):
    assert overwritten_outputs(build(name, **edits), torch.randn(2, 3, 32, 32)) == []


@pytest.mark.parametrize(
    ("name", "edits", "expected"),
    [
        ("wide_resnet16_8", {}, [(128, 32, 32), (256, 16, 16), (512, 8, 8)]),
        ("wide_resnet50_2", {"stem": "small", "depths": (1, 1)}, [(256, 32, 32), (512, 16, 16)]),
    ],
)
def test_stages_of_small_images(name: str, edits: dict[str, object], expected: list[tuple[int, ...]]):
    assert stage_shapes(build(name, **edits), 3, 32, 32) == expected


@pytest.mark.parametrize(
    ("name", "edits", "said"),
    [
        ("wide_resnet16_8", {"depth": 17}, "17"),
        ("wide_resnet16_8", {"depth": 4}, "4"),
        ("wide_resnet16_8", {"widening": 0}, "at least 1; not 0"),
        ("wide_resnet16_8", {"dropout": 1.0}, "1.0"),
        ("wide_resnet50_2", {"widening": 0}, "at least 1; not 0"),
    ],
)
def test_what_no_network_has_is_refused(name: str, edits: dict[str, object], said: str):
    with pytest.raises(UsageError, match=said):
        build(name, **edits)
