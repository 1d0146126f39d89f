from __future__ import annotations

import pytest
import torch
from torch import nn

from neocog.layers.identity import begin_as_identity, can_be_identity
from neocog.layers.norm import WSConv2d


@pytest.mark.parametrize(("channels", "filters", "side"), [(3, 8, 3), (5, 5, 5), (8, 3, 3), (4, 9, 7)])
def test_the_first_filters_pass_their_channels_on_and_the_rest_stay(channels: int, filters: int, side: int):
    layer = nn.Conv2d(channels, filters, side, padding=side // 2, bias=False)
    before, x, same = layer.weight.clone(), torch.randn(2, channels, 9, 9), min(channels, filters)
    begin_as_identity(layer)
    assert torch.equal(layer(x)[:, :same], x[:, :same])
    assert torch.equal(layer.weight[channels:], before[channels:])
    assert layer.weight.requires_grad


def test_convolutions_of_no_or_an_even_middle_strided_grouped_or_standardised_ones_cannot():
    assert can_be_identity(nn.Conv2d(4, 4, 3))
    assert can_be_identity(nn.Conv2d(4, 4, (3, 5), dilation=2))
    others = [
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 2),
        nn.Conv2d(4, 4, (3, 4)),
        nn.Conv2d(4, 4, (1, 7)),
        nn.Conv2d(4, 4, 3, stride=2),
        nn.Conv2d(4, 4, 3, groups=2),
        WSConv2d(4, 4, 3),
        nn.Linear(4, 4),
    ]
    assert not any(can_be_identity(layer) for layer in others)
