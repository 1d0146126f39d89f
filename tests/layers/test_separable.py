"""Cheaper convolutions are full ones with a special kernel."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neocog.errors import UsageError
from neocog.layers.conv import convolution_macs
from neocog.layers.separable import (
    DepthwiseSeparableConv2d,
    GroupedPointwiseConv2d,
    SpatiallySeparableConv2d,
    separate,
)


def test_depthwise_separable_is_the_full_convolution_of_a_product_of_kernels() -> None:
    torch.manual_seed(0)
    layer = DepthwiseSeparableConv2d(4, 6, 3, stride=2, padding=2, dilation=2).double()
    x = torch.randn(2, 4, 11, 9, dtype=torch.float64)
    kernel = torch.einsum("cij,oc->ocij", layer.depthwise.weight[:, 0], layer.pointwise.weight[:, :, 0, 0])
    torch.testing.assert_close(layer(x), F.conv2d(x, kernel, layer.pointwise.bias, 2, 2, 2))


def test_depthwise_separable_saves_what_mobilenets_state() -> None:
    size, channels, out = (14, 14), 512, 512
    cheap = convolution_macs(channels, channels, 3, size, groups=channels) + convolution_macs(channels, out, 1, size)
    full = convolution_macs(channels, out, 3, size)
    assert Fraction(cheap, full) == Fraction(1, out) + Fraction(1, 9)
    assert 8 < full / cheap < 9
    layer = DepthwiseSeparableConv2d(channels, out, bias=False)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 9 * channels + channels * out


def test_spatially_separable_is_the_full_convolution_of_an_outer_product() -> None:
    torch.manual_seed(0)
    layer = SpatiallySeparableConv2d(4, 6, 5, stride=2, padding=2, groups=2).double()
    x = torch.randn(2, 4, 12, 11, dtype=torch.float64)
    column, row = layer.vertical.weight[..., 0], layer.horizontal.weight[..., 0, :]
    middle = row.new_zeros(6, 6, 5)
    for out in range(6):  # each group of outputs reads its group of the columns' results
        middle[out, out // 3 * 3 : out // 3 * 3 + 3] = row[out]
    spread = column.new_zeros(6, 4, 5)
    for out in range(6):
        spread[out, out // 3 * 2 : out // 3 * 2 + 2] = column[out]
    kernel = torch.einsum("omj,mci->ocij", middle, spread)
    torch.testing.assert_close(layer(x), F.conv2d(x, kernel, layer.horizontal.bias, 2, 2))
    full = nn.Conv2d(4, 6, 5, groups=2).weight.numel()
    assert layer.vertical.weight.numel() == full // 5


def test_sobels_filter_is_separated_and_gives_scipys_gradient() -> None:
    from scipy import ndimage

    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64)
    column, row = separate(sobel)
    torch.testing.assert_close(torch.outer(column, row), sobel)
    assert torch.allclose(column / column[0], torch.tensor([1.0, 2, 1], dtype=torch.float64))
    layer = SpatiallySeparableConv2d(1, 1, 3, bias=False).double()
    with torch.no_grad():
        layer.vertical.weight.copy_(column.view(1, 1, 3, 1))
        layer.horizontal.weight.copy_(row.view(1, 1, 1, 3))
        image = torch.rand(9, 8, dtype=torch.float64)
        ours = layer(image[None, None])[0, 0].numpy()
    np.testing.assert_allclose(ours, ndimage.sobel(image.numpy(), axis=1)[1:-1, 1:-1], atol=1e-12)


def test_a_kernel_that_is_no_outer_product_is_refused() -> None:
    with pytest.raises(UsageError, match="no outer product"):
        separate(torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]))
    separate(torch.outer(torch.rand(5), torch.rand(3)))


@pytest.mark.parametrize("kernel", [torch.ones(3, 3, dtype=torch.int64), torch.ones(3), torch.ones(2, 3, 3)])
def test_what_is_no_matrix_of_floating_point_numbers_is_refused(kernel: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=rf"not \({kernel.shape[0]},.*\) of {kernel.dtype}"):
        separate(kernel)


@pytest.mark.parametrize("bias", [True, False])
def test_pointwise_convolutions_of_branches_are_one_in_groups(bias: bool) -> None:
    torch.manual_seed(0)
    branches = [nn.Conv2d(4, 6, 1, bias=bias).double() for _ in range(3)]
    maps = [torch.randn(2, 4, 5, 7, dtype=torch.float64) for _ in range(3)]
    merged = GroupedPointwiseConv2d.of_branches(branches)
    apart = torch.cat([branch(x) for branch, x in zip(branches, maps, strict=True)], 1)
    torch.testing.assert_close(merged(torch.cat(maps, 1)), apart)
    assert merged.weight.numel() == 12 * 18 // 3
    assert all(parameter.requires_grad for parameter in merged.parameters())


def test_branches_that_cannot_be_merged_are_refused() -> None:
    for branches in (
        [nn.Conv2d(4, 6, 1), nn.Conv2d(4, 8, 1)],
        [nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3)],
        [nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1, bias=False)],
        [nn.Conv2d(4, 6, 1, stride=2), nn.Conv2d(4, 6, 1, stride=2)],
        [],
    ):
        with pytest.raises(UsageError, match="branches"):
            GroupedPointwiseConv2d.of_branches(branches)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DepthwiseSeparableConv2d(0, 6),
        lambda: SpatiallySeparableConv2d(6, 4, groups=4),
        lambda: GroupedPointwiseConv2d(6, 4, 4),
        lambda: DepthwiseSeparableConv2d(4, 6, 0),
        lambda: SpatiallySeparableConv2d(4, 6, stride=0),
        lambda: DepthwiseSeparableConv2d(4, 6, padding=-1),
    ],
)
def test_numbers_that_do_not_go_are_refused(make) -> None:
    with pytest.raises(UsageError, match=r"channels|(kernel_size|stride) is 0|padding is -1"):
        make()
