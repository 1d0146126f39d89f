"""Network in Network is the authors' definition: its sizes, its counts, and a small network at every pixel."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from parity import (
    assert_every_parameter_is_trained,
    differs_from_reading_by,
    draw_as_he,
    randomise,
    stage_shapes,
    steps_to_learn_digits,
)
from torch import Tensor

from neocog.errors import UsageError
from neocog.models.nin import CONFIGS, NIN


def build(name: str, **edits: object) -> NIN:
    return NIN(replace(CONFIGS[name], **edits))


def small(**edits: object) -> NIN:
    return build("nin_cifar10", widths=((16, 12, 8), (16, 16, 16), (16, 16)), **edits)


def test_parameters_of_the_network_for_imagenet_fill_the_29_megabytes_of_its_file():
    with torch.device("meta"):
        counts = {name: sum(each.numel() for each in build(name).parameters()) for name in CONFIGS}
    assert counts == {"nin_cifar10": 966_986, "nin_imagenet": 7_595_176}
    assert round(counts["nin_imagenet"] * 4 / 2**20) == 29


def test_maps_have_the_sizes_that_caffe_gives_them():
    assert stage_shapes(build("nin_cifar10"), 3, 32, 32) == [(96, 16, 16), (192, 8, 8)]
    assert stage_shapes(build("nin_imagenet"), 3, 224, 224) == [(96, 27, 27), (256, 13, 13), (384, 6, 6), (1024, 6, 6)]


def caffe_pool(x: Tensor, kind: str) -> Tensor:
    """Pool 3x3 windows at every second pixel, at the border of what there is of them."""
    sides = [-(-(side - 3) // 2) + 1 for side in x.shape[-2:]]
    rows = []
    for row in range(sides[0]):
        windows = [x[..., 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] for column in range(sides[1])]
        rows.append(torch.stack([w.amax((2, 3)) if kind == "max" else w.mean((2, 3)) for w in windows], -1))
    return torch.stack(rows, -2)


def reference_logits(state: dict[str, Tensor], x: Tensor, stride: int, pools: tuple[str, ...]) -> Tensor:
    """Read equation 2 once more, from the parameters alone: a multilayer perceptron on the maps at each pixel."""
    layers = sorted({name.partition(".")[0] for name in state if name.startswith("mlpconv")})
    for number, layer in enumerate(layers):
        weight = state[f"{layer}.conv.weight"]
        strided = number == 0 and stride > 1
        padding = 0 if strided else weight.shape[-1] // 2
        x = F.conv2d(x, weight, state[f"{layer}.conv.bias"], stride=stride if strided else 1, padding=padding).relu()
        pixels = x.permute(0, 2, 3, 1)
        units = [f"{layer}.cccp1", f"{layer}.cccp2"] if number < len(layers) - 1 else [f"{layer}.cccp1", "classifier"]
        for unit in units:
            pixels = (pixels @ state[f"{unit}.weight"].flatten(1).T + state[f"{unit}.bias"]).relu()
        x = pixels.permute(0, 3, 1, 2)
        if number < len(pools):
            x = caffe_pool(x, pools[number])
    return x.mean((2, 3))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_network_is_a_perceptron_at_every_pixel(name):
    network, sides = build(name), (30, 32) if name == "nin_cifar10" else (89, 99)
    reading = partial(reference_logits, stride=network.config.stride, pools=network.config.pools)
    assert differs_from_reading_by(network, reading, 3, *sides, gain=2) < 1e-5


def test_scores_are_means_of_rectified_maps_also_when_the_head_is_new():
    network = small().eval()
    randomise(network)
    images = torch.randn(2, 3, 32, 32)
    network.reset_classifier(4)
    assert isinstance(network.classifier, torch.nn.Conv2d)
    features = network.forward_features(images)
    assert torch.equal(network(images), network.classifier(features).relu().mean((2, 3)))
    assert (network(images) >= 0).all()
    network.reset_classifier(0)
    assert torch.equal(network(images), features.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "stds"),
    [
        ("nin_cifar10", {"mlpconv1.conv": 0.05, "mlpconv2.cccp1": 0.05, "mlpconv3.conv": 0.05, "classifier": 0.05}),
        (
            "nin_imagenet",
            {"mlpconv1.conv": 0.01, "mlpconv1.cccp1": 0.05, "mlpconv3.conv": 0.01, "classifier": 0.01},
        ),
    ],
)
def test_weights_begin_as_the_authors_definitions_say(name, stds):
    network = build(name)
    network.init_weights()
    for path, std in stds.items():
        layer = network.get_submodule(path)
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert (layer.bias == (path == "classifier")).all()  # the classes' begin at 1


def test_every_parameter_is_trained():
    network = small(num_classes=3)
    assert_every_parameter_is_trained(network, torch.randn(3, 3, 32, 32))


def test_the_network_learns_digits_without_error():
    network = build("nin_cifar10", widths=((32, 32, 32), (32, 32, 32), (32, 32)), in_chans=1, dropouts=(0.0, 0.0))
    network.init_weights = lambda: draw_as_he(network)
    assert steps_to_learn_digits(network, limit=200, rate=0.003, adam=True) <= 200


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"kernels": ()}, "0 kernels need as many widths"),
        ({"kernels": (5, 4)}, "2 kernels need as many widths"),
        ({"kernels": (4, 5, 3)}, "odd"),
        ({"kernels": (5, 4, 3)}, "odd"),
        ({"kernels": (5, 5, 0)}, "at least 1"),
        ({"widths": ((8, 8, 8), (8, 8, 8), (8, 0))}, "at least 1"),
        ({"widths": ((8, 8), (8, 8, 8), (8, 8))}, "three numbers"),
        ({"dropouts": (0.5, 1.0)}, "shares"),
        ({"init_std": (0.1, 0.1, 0.1, -0.1)}, "not negative"),
    ],
)
def test_what_no_network_can_be_is_refused(edits, said):
    with pytest.raises(UsageError, match=said):
        build("nin_cifar10", **edits)
