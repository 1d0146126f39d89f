"""What a layer listens to, measured by gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from neocog.analysis.effective_field import effective_field, mean_field, middle_position, smallest_square
from neocog.analysis.receptive_field import receptive_fields
from neocog.analysis.trace import trace_forward
from neocog.errors import UnknownNameError, UsageError
from neocog.models import create_model


def chain(depth: int, *, stride: int = 1, positive: bool = False, channels: int = 8) -> nn.Sequential:
    """Return 3x3 convolutions in a row."""
    torch.manual_seed(0)
    layers = []
    for number in range(depth):
        convolution = nn.Conv2d(3 if number == 0 else channels, channels, 3, stride, padding=1, bias=False)
        if positive:
            nn.init.uniform_(convolution.weight, 0.1, 1.0)
        layers.append(convolution)
    return nn.Sequential(*layers)


def field_of(network: nn.Module, layer: str, size: int = 33):
    return receptive_fields(trace_forward(network, (3, size, size))).of(layer)


def support(heat):
    rows, columns = np.flatnonzero(heat.any(1)), np.flatnonzero(heat.any(0))
    assert (heat[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] > 0).all()
    return (rows[0], rows[-1]), (columns[0], columns[-1])


@pytest.mark.parametrize(
    ("depth", "stride", "side"), [(1, 1, 3), (2, 1, 5), (3, 1, 7), (5, 1, 11), (2, 2, 7), (3, 2, 15)]
)
def test_positive_weights_are_moved_by_all_of_the_receptive_field_and_nothing_else(depth, stride, side):
    network, layer = chain(depth, stride=stride, positive=True), str(depth - 1)
    field = field_of(network, layer)
    found = effective_field(network, layer, torch.randn(2, 3, 33, 33), field=field)
    assert field.size == (side, side)
    assert support(found.heat) == field.at(*found.position)
    assert found.heat.sum() == pytest.approx(1)
    assert found.side95 <= side


def test_the_field_is_found_where_the_image_ends():
    network = chain(3, stride=2, positive=True)
    field = field_of(network, "2", size=12)
    found = effective_field(network, "2", torch.randn(1, 3, 12, 12), field=field)
    assert field.size == (15, 15)
    (top, bottom), (left, right) = field.seen(*found.position)
    assert support(found.heat) == ((top, bottom), (left, right))


def test_a_deep_random_chain_listens_to_less_than_it_sees_as_a_bell_does():
    network = chain(10)
    field = field_of(network, "9")
    found = effective_field(network, "9", torch.randn(4, 3, 33, 33), field=field)
    assert field.size == (21, 21)
    assert found.side50 < found.side95 < 21
    # Luo et al. 2016, section 2.2: with random weights the gradient's variance is that of a walk of ten even steps of
    # -1, 0, 1, nearly a Gaussian. The gradient's size is its root, a Gaussian of twice the variance.
    profile, places = found.heat.sum(0), np.arange(33) - found.centre[1]
    assert (profile * places).sum() == pytest.approx(0, abs=0.5)
    assert (profile * places**2).sum() == pytest.approx(2 * 10 * 2 / 3, rel=0.2)
    assert found.heat.max() > 20 * found.heat[16, [6, 26]].max() > 0


def test_what_counts_grows_as_the_root_of_the_depth_while_the_field_grows_as_the_depth():
    sides = {}
    for depth in (4, 16):
        network = chain(depth)
        images = torch.randn(4, 3, 49, 49)
        field = field_of(network, str(depth - 1), size=49)
        sides[depth] = effective_field(network, str(depth - 1), images, field=field).side50, field.size[0]
    assert sides[16][1] / sides[4][1] == pytest.approx(33 / 9)
    assert 1.5 < sides[16][0] / sides[4][0] < 2.6


@pytest.mark.parametrize(("share", "side"), [(0.01, 1), (1 / 25, 1), (1.01 / 25, 3), (9 / 25, 3), (0.5, 5), (1.0, 5)])
def test_the_square_is_the_smallest_that_holds_the_share(share, side):
    heat = np.zeros((11, 11))
    heat[3:8, 4:9] = 1 / 25
    assert smallest_square(heat, (5, 6), share) == side


def test_a_square_around_a_border_between_pixels_has_an_even_side():
    heat = np.zeros((8, 8))
    heat[3:5, 3:5] = 0.25
    assert smallest_square(heat, (3.5, 3.5), 1.0) == 2
    assert smallest_square(heat, (3.0, 3.0), 1.0) == 3


def test_of_tokens_the_middle_patch_is_looked_at():
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 4, 4)
            self.token = nn.Parameter(torch.zeros(1, 1, 6))
            self.join = nn.Identity()
            self.mix = nn.MultiheadAttention(6, 1, batch_first=True)
            self.after = nn.Identity()

        def forward(self, x):
            tokens = self.conv(x).flatten(2).transpose(1, 2)
            tokens = self.join(torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1))
            return self.after(tokens + self.mix(tokens, tokens, tokens)[0])

    network, images = Patches(), torch.randn(2, 3, 20, 20)
    patch = ((8, 11), (8, 11))  # the third of five, both ways
    for field in (None, field_of(network, "join", size=20)):
        found = effective_field(network, "join", images, field=field)
        assert found.shape == (1, 26, 6)
        assert found.position == (0, 1 + 12, 0)
        assert support(found.heat) == patch
    everything = effective_field(network, "after", images, field=field_of(network, "after", size=20))
    assert everything.position == (0, 13, 0)
    assert support(everything.heat) == ((0, 19), (0, 19))
    assert everything.centre == (9.5, 9.5)
    assert everything.side50 < 20


def test_maps_with_channels_last_have_their_places_first():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = chain(2, positive=True)
            self.turn = nn.Identity()

        def forward(self, x):
            return self.turn(self.conv(x).permute(0, 2, 3, 1))

    network = Turned()
    for field in (None, field_of(network, "turn")):
        found = effective_field(network, "turn", torch.randn(1, 3, 33, 33), field=field)
        assert found.position == (0, 16, 16, 0)
        assert support(found.heat) == ((14, 18), (14, 18))
        assert found.centre == (16, 16)


@pytest.mark.parametrize(
    ("shape", "position"),
    [
        ((1, 64, 14, 14), (0, None, 7, 7)),
        ((1, 7, 7, 768), (0, 3, 3, None)),
        ((1, 197, 192), (0, 1 + 7 * 14 + 7, None)),
        ((1, 49, 192), (0, 24, None)),
        ((1, 1000), (0, None)),
    ],
)
def test_shapes_alone_tell_where_the_middle_is(shape, position):
    assert middle_position(shape) == position


def test_a_network_is_left_as_it_was():
    network = create_model("lenet5").train()
    network.c1.eval()
    network.c3.weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    effective_field(network, "c5", torch.randn(2, 1, 32, 32))
    assert [module.training for module in network.modules()] == modes
    assert [name for name, each in network.named_parameters() if not each.requires_grad] == ["c3.weight"]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_activation_in_place_does_not_hide_the_layer_before_it():
    torch.manual_seed(0)
    apart, in_place = (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=flag)) for flag in (False, True))
    in_place.load_state_dict(apart.state_dict())
    images = torch.randn(2, 3, 9, 9)
    heats = [effective_field(network, "0", images).heat for network in (apart, in_place)]
    assert np.array_equal(*heats)
    assert in_place[1].inplace


def test_images_of_any_size_will_do():
    network = create_model("lenet5")
    found = effective_field(nn.Sequential(network.c1, nn.ReLU()), "0", torch.randn(1, 1, 20, 41))
    assert found.heat.shape == (20, 41)
    assert support(found.heat) == ((8, 12), (18, 22))


def test_the_mean_of_several_networks_is_smoother_than_each():
    images = torch.randn(4, 3, 33, 33)
    fields = []
    for seed in range(4):
        network = chain(3)
        torch.manual_seed(seed)
        for each in network:
            each.reset_parameters()
        fields.append(effective_field(network, "2", images, field=field_of(network, "2")))
    mean = mean_field(fields)
    assert mean.images == 16
    assert np.allclose(mean.heat, sum(each.heat for each in fields) / 4)
    inside = mean.heat[13:20, 13:20]

    def unevenness(heat):
        return np.abs(heat[13:20, 13:20] - inside).sum()

    assert unevenness(mean_field(fields[:2]).heat) < np.mean([unevenness(each.heat) for each in fields])


def test_an_unknown_layer_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match=r"unknown module 'layer2\.0\.conv'; did you mean layer2\.0\.conv"):
        effective_field(create_model("resnet20"), "layer2.0.conv", torch.randn(1, 3, 32, 32))


class Odd(nn.Module):
    """Layers that have nothing to measure."""

    def __init__(self):
        super().__init__()
        self.pair, self.idle, self.dead = nn.MaxPool2d(2, return_indices=True), nn.Identity(), nn.ReLU()
        self.pieces = nn.Identity()

    def forward(self, x):
        maps, _ = self.pair(x)
        self.dead(-x.abs() - 1)
        return maps + self.pieces(maps.reshape(-1, 1, 1)).sum()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("pair", "pair returns a tuple; name a layer that returns maps, tokens or a vector"),
        ("idle", "idle did not run"),
        ("dead", "nothing in these images moves the middle of dead"),
        ("pieces", "pieces cuts images into pieces: 2 became 96"),
    ],
)
def test_a_layer_with_nothing_to_measure_is_refused(layer, message):
    with pytest.raises(UsageError, match=message):
        effective_field(Odd(), layer, torch.randn(2, 3, 8, 8))
