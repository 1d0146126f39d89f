"""The network of ConvNetJS' CIFAR-10 demo: its counts by hand, and its loops once more in NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from parity import (
    assert_every_parameter_is_trained,
    multiply_adds,
    overwritten_outputs,
    randomise,
    stage_shapes,
    steps_to_learn_digits,
)

from neocog.errors import UsageError
from neocog.models.convnetjs import CONFIGS, ConvNetJS

Volume = NDArray[np.float64]


def build(**edits: object) -> ConvNetJS:
    return ConvNetJS(replace(CONFIGS["convnetjs"], **edits))


def test_parameters_and_multiply_adds_are_those_that_the_page_shows_beside_its_layers():
    """Such as "16x5x5x3+16 = 1216"."""
    by_layer = [16 * 5 * 5 * 3 + 16, 20 * 5 * 5 * 16 + 20, 20 * 5 * 5 * 20 + 20, 10 * 320 + 10]
    with torch.device("meta"):
        network = build()
        layers = [network.layer1, network.layer2, network.layer3, network.fc]
        assert [sum(each.numel() for each in layer.parameters()) for layer in layers] == by_layer
        products = 1200 * 32 * 32 + 8000 * 16 * 16 + 10_000 * 8 * 8 + 3200
        assert multiply_adds(network, 3, 32, 32) == products == 3_920_000
    assert sum(by_layer) == 22_466


def test_maps_have_the_sizes_that_the_page_shows():
    assert stage_shapes(build(), 3, 32, 32) == [(16, 16, 16), (20, 8, 8), (20, 4, 4)]


def convolve(volume: Volume, filters: Volume, biases: Volume) -> Volume:
    """Slide each filter over a volume (C, H, W) with zeros around it, position by position."""
    pad = filters.shape[-1] // 2
    padded = np.pad(volume, ((0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((len(filters), *volume.shape[1:]))
    for number, one in enumerate(filters):
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                out[number, y, x] = (padded[:, y : y + one.shape[1], x : x + one.shape[2]] * one).sum() + biases[number]
    return out


def pool(volume: Volume) -> Volume:
    """Return the greatest of each 2x2 that is whole."""
    rows, columns = volume.shape[1] // 2, volume.shape[2] // 2
    return np.array(
        [
            [[one[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].max() for x in range(columns)] for y in range(rows)]
            for one in volume
        ]
    )


@torch.no_grad()
def test_the_network_is_its_layers_in_the_order_of_the_demo():
    network = build(filters=(3, 4), image_size=10).double().eval()
    randomise(network)
    image = torch.randn(1, 3, 10, 10, dtype=torch.float64)
    volume = image[0].numpy()
    for layer in (network.layer1, network.layer2):
        volume = pool(np.maximum(convolve(volume, layer.conv.weight.numpy(), layer.conv.bias.numpy()), 0))
    expected = network.fc.weight.numpy() @ volume.ravel() + network.fc.bias.numpy()
    np.testing.assert_allclose(network(image)[0].numpy(), expected, rtol=1e-9)


def test_weights_begin_as_in_the_demo():
    torch.manual_seed(0)
    network = build()
    network.init_weights()
    assert network.layer2.conv.weight.std().item() == pytest.approx((5 * 5 * 16) ** -0.5, rel=0.03)
    assert torch.equal(network.layer2.conv.bias, torch.full((20,), 0.1))
    assert network.fc.weight.std().item() == pytest.approx(320**-0.5, rel=0.05)
    assert not network.fc.bias.any()


def test_every_parameter_is_trained_and_no_output_overwritten():
    assert_every_parameter_is_trained(build(), torch.randn(10, 3, 32, 32))
    assert overwritten_outputs(build(), torch.randn(2, 3, 32, 32)) == []


def test_64_digits_are_learned():
    assert steps_to_learn_digits(build(in_chans=1), 32) > 1


def test_other_sizes_are_built_and_refused_where_it_was_not_built_for_them():
    assert build(image_size=28, in_chans=1)(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    with pytest.raises(UsageError, match=r"32x32, not 33x40.*image_size"):
        build()(torch.randn(2, 3, 33, 40))


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"filters": ()}, "at least 1"),
        ({"filters": (16, 0)}, "at least 1"),
        ({"kernel_size": 4}, "odd"),
        ({"image_size": 7}, "3 pools need an image_size of at least 8, not 7"),
    ],
)
def test_what_no_network_can_be_is_refused(edits: dict[str, object], said: str):
    with pytest.raises(UsageError, match=said):
        build(**edits)
