"""The parts of residual networks, beside torchvision's blocks and plain arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet as theirs

from neocog.errors import UsageError
from neocog.layers.residual import BasicBlock, Bottleneck, PaddedIdentity, check_stages, make_shortcut


def equal(ours: nn.Module, other: nn.Module, x: torch.Tensor) -> bool:
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
            nn.init.normal_(module.bias)
    ours.load_state_dict(other.state_dict())
    return torch.allclose(ours.eval()(x), other.eval()(x), atol=1e-6)


def around(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """torchvision's shortcut where one is needed."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(theirs.conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


@pytest.mark.parametrize(("in_channels", "stride"), [(8, 1), (8, 2), (4, 1)])
def test_a_basic_block_is_torchvisions(in_channels: int, stride: int):
    ours = BasicBlock(in_channels, 8, stride, make_shortcut("B", in_channels, 8, stride))
    other = theirs.BasicBlock(in_channels, 8, stride, around(in_channels, 8, stride))
    assert equal(ours, other, torch.randn(2, in_channels, 7, 6))


@pytest.mark.parametrize(("groups", "base_width"), [(1, 64), (1, 128), (4, 8)])
def test_a_bottleneck_is_torchvisions_wide_and_in_groups(groups: int, base_width: int):
    width = 16 * base_width // 64 * groups
    ours = Bottleneck(24, width, 64, 2, make_shortcut("B", 24, 64, 2), groups=groups)
    other = theirs.Bottleneck(24, 16, 2, around(24, 64, 2), groups, base_width)
    assert equal(ours, other, torch.randn(2, 24, 7, 6))


def test_the_stride_may_be_in_the_first_convolution_and_its_width_another():
    block = Bottleneck(8, 12, 16, 2, None, stride_in="1x1", first_width=6)
    assert block.conv1.stride == (2, 2)
    assert block.conv2.stride == (1, 1)
    assert block.conv2.weight.shape[:2] == (12, 6)
    assert block(torch.randn(2, 8, 5, 5)).shape == (2, 16, 3, 3)


def test_shortcut_a_takes_every_second_pixel_and_adds_channels_of_zeros():
    x = torch.randn(2, 3, 5, 4)
    y = PaddedIdentity(3, 5, 2)(x)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2])
    assert y.shape == (2, 5, 3, 2)
    assert not y[:, 3:].any()


@pytest.mark.parametrize(
    ("option", "same", "changed"),
    [
        ("A", nn.Identity, PaddedIdentity),
        ("B", nn.Identity, nn.Sequential),
        ("C", nn.Sequential, nn.Sequential),
        ("none", type(None), type(None)),
    ],
)
def test_shortcuts_are_section_4_1s(option: Any, same: type, changed: type):
    assert type(make_shortcut(option, 8, 8, 1)) is same
    assert type(make_shortcut(option, 8, 8, 2)) is changed
    assert type(make_shortcut(option, 8, 16, 1)) is changed


@pytest.mark.parametrize(("depths", "width"), [((), 8), ((2, 0), 8), ((2, 2), 0)])
def test_a_network_without_blocks_or_filters_is_refused(depths: tuple[int, ...], width: int):
    with pytest.raises(UsageError, match="at least 1"):
        check_stages(depths, width)
