"""ZFNet has the sizes of figure 3, and computes what a second reading of the paper does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from parity import assert_every_parameter_is_trained, differs_from_reading_by, draw_as_he, steps_to_learn_digits
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models import tap
from neocog.models.zfnet import CONFIGS, ZFNet


def build(name: str, **edits: object) -> ZFNet:
    return ZFNet(replace(CONFIGS[name], **edits))


@torch.no_grad()
def test_maps_have_the_sizes_of_figure_3():
    with torch.device("meta"):
        network = build("zfnet").eval()
        parts = ["layer1.conv", "layer1", "layer2.conv", "layer2", "layer3", "layer4", "layer5.conv", "layer5"]
        with tap(network, parts) as seen:
            network(torch.empty(1, 3, 224, 224))
    assert [(output.shape[1], output.shape[2]) for output in seen.values()] == [
        (96, 110),
        (96, 55),
        (256, 26),
        (256, 13),
        (384, 13),
        (384, 13),
        (256, 13),
        (256, 6),
    ]
    assert network.layer6.in_features == 6 * 6 * 256 == 9216  # the caption's "9216 dimensions"
    assert network.layer6.out_features == network.layer7.out_features == 4096


def test_parameters_are_alexnets_but_for_what_the_paper_changed():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build("zfnet").parameters())
    alexnet = (
        62_378_344  # dense, as "the sparse connections in layers 3, 4, 5 are replaced with dense" ones (section 3)
    )
    assert count == alexnet - 96 * 3 * (11 * 11 - 7 * 7)


def test_the_lectures_words_on_zfnet():
    """The lecture: "CONV1: change from (11x11 stride 4) to (7x7 stride 2); CONV3,4,5 ... use 512, 1024, 512".

    Its "16.4% -> 11.7%" compares an average of AlexNets with Clarifai's entry, another network.
    """
    with torch.device("meta"):
        base, large = build("zfnet"), build("zfnet_large")
    assert (base.layer1.conv.kernel_size, base.layer1.conv.stride) == ((7, 7), (2, 2))
    filters = [[layer.conv.out_channels for layer in (n.layer3, n.layer4, n.layer5)] for n in (base, large)]
    assert filters == [[384, 384, 256], [512, 1024, 512]]
    assert base.stage_names == ("layer1", "layer2", "layer4", "layer5")
    assert large.stage_names == ("layer1", "layer2", "layer3", "layer4", "layer5")


def reference_logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Figure 3 read once more, from the parameters alone: rectify, then pool, then normalise."""

    def convolve(x: Tensor, number: int, **how: int) -> Tensor:
        return F.conv2d(x, state[f"layer{number}.conv.weight"], state[f"layer{number}.conv.bias"], **how).relu()

    def pool(x: Tensor) -> Tensor:
        """Windows of 3x3 at every second position; what lies over the border counts for nothing."""
        extra = [(side - 3) % 2 for side in x.shape[-2:]]
        return F.max_pool2d(F.pad(x, (0, extra[1], 0, extra[0]), value=float("-inf")), 3, 2)

    def normalise(x: Tensor) -> Tensor:
        return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)

    x = normalise(pool(convolve(x, 1, stride=2, padding=1)))
    x = normalise(pool(convolve(x, 2, stride=2)))
    x = convolve(convolve(x, 3, padding=1), 4, padding=1)
    x = pool(convolve(x, 5, padding=1)).flatten(1)
    for number in (6, 7):
        x = F.linear(x, state[f"layer{number}.weight"], state[f"layer{number}.bias"]).relu()
    return F.linear(x, state["output.weight"], state["output.bias"])


@pytest.mark.parametrize("name", ["zfnet", "zfnet_large"])
def test_the_network_is_figure_3(name):
    network = build(name, hidden=32, num_classes=9)
    assert differs_from_reading_by(network, reference_logits, 3, 224, 224, gain=2, contrast=3) < 1e-5


def test_weights_and_biases_begin_as_section_3_says():
    network = build("zfnet", hidden=64)
    network.init_weights()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.03)
            assert not layer.bias.any()


def test_every_parameter_is_trained():
    network = build("zfnet", filters=(8, 8, 12, 12, 8), hidden=16, num_classes=3)
    assert_every_parameter_is_trained(network, torch.randn(3, 3, 99, 99))


def test_the_network_learns_digits_without_error():
    network = build("zfnet", filters=(16, 16, 16, 16, 16), hidden=32, num_classes=10, in_chans=1, dropout=0.0)
    network.init_weights = lambda: draw_as_he(network)
    assert steps_to_learn_digits(network, size=64, limit=100, rate=0.002, adam=True) <= 100


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"filters": (96, 256)}, "five convolutions"),
        ({"filters": (96, 256, 384, 384, -1)}, "at least 1 each"),
        ({"hidden": 0}, "at least 1; not 0"),
        ({"dropout": -0.1}, "below 1; not -0.1"),
    ],
)
def test_what_no_network_can_be_is_refused(edits, said):
    with pytest.raises(UsageError, match=said):
        build("zfnet", **edits)
