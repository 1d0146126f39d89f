"""Deformable convolution equals a plain re-reading of its equation, and an ordinary convolution where nothing moves."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neocog.errors import UsageError
from neocog.layers.deformable import DeformableConv2d, sample_and_convolve


def read_at(image: Tensor, row: float, column: float) -> Tensor:
    """Return an image `(C, H, W)` at a point: the four pixels about it, by how near they are, and zeros beyond."""
    total = image.new_zeros(len(image))
    for y in (math.floor(row), math.floor(row) + 1):
        for x in (math.floor(column), math.floor(column) + 1):
            if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
                total = total + image[:, y, x] * (1 - abs(row - y)) * (1 - abs(column - x))
    return total


def reread(x: Tensor, layer: DeformableConv2d, offsets: Tensor, mask: Tensor | None) -> Tensor:
    """Compute y(p_0) = Σ_n w(p_n) x(p_0 + p_n + Δp_n) Δm_n with loops."""
    taps = layer.weight.shape[2]
    shared = layer.moved // taps**2
    channels, out = x.shape[1], len(layer.weight)
    result = offsets.new_zeros(len(x), out, *offsets.shape[2:])
    for image, n, m in (
        (i, n, m) for i in range(len(x)) for n in range(result.shape[2]) for m in range(result.shape[3])
    ):
        for tap in range(taps**2):
            read = []
            for group in range(shared):
                number = group * taps**2 + tap
                row = n * layer.stride - layer.padding + tap // taps * layer.dilation
                column = m * layer.stride - layer.padding + tap % taps * layer.dilation
                row += offsets[image, 2 * number, n, m].item()
                column += offsets[image, 2 * number + 1, n, m].item()
                part = slice(group * channels // shared, (group + 1) * channels // shared)
                value = read_at(x[image, part], row, column)
                read.append(value if mask is None else value * mask[image, number, n, m])
            values = torch.cat(read)
            per = layer.weight.shape[1]
            for one in range(out):
                first = one // (out // (channels // per)) * per
                result[image, one, n, m] += values[first : first + per] @ layer.weight[one, :, tap // taps, tap % taps]
    return result if layer.bias is None else result + layer.bias[:, None, None]


SETTINGS = [
    {},
    {"stride": 2, "dilation": 2},
    {"groups": 2, "offset_groups": 2, "padding": 0},
    {"kernel_size": 2, "padding": 1, "offset_groups": 4, "bias": False},
]


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_it_reads_where_the_offsets_say(settings: dict[str, int], modulated: bool) -> None:
    torch.manual_seed(0)
    layer = DeformableConv2d(4, 6, modulated=modulated, **settings).double()
    torch.nn.init.normal_(layer.offset.weight, std=0.3)
    x = torch.randn(1, 4, 5, 4, dtype=torch.float64)
    predicted = layer.offset(x)
    offsets, mask = predicted[:, : 2 * layer.moved], predicted[:, 2 * layer.moved :].sigmoid()
    assert offsets.abs().max() > 1.5  # taps do move beyond neighbours and borders
    with torch.no_grad():
        torch.testing.assert_close(layer(x), reread(x, layer, offsets, mask if modulated else None))


@pytest.mark.parametrize("settings", SETTINGS)
def test_it_starts_as_an_ordinary_convolution(settings: dict[str, int]) -> None:
    torch.manual_seed(0)
    layer = DeformableConv2d(4, 6, **settings)
    modulated = DeformableConv2d(4, 6, modulated=True, **{**settings, "bias": False})
    x = torch.randn(2, 4, 9, 8)
    given = (layer.stride, layer.padding, layer.dilation, settings.get("groups", 1))
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias, *given))
    torch.testing.assert_close(modulated(x), F.conv2d(x, modulated.weight, None, *given) / 2)


def test_it_is_torchvisions_with_random_offsets() -> None:
    from torchvision.ops import DeformConv2d

    torch.manual_seed(0)
    theirs = DeformConv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2)
    x, offsets, mask = torch.randn(2, 4, 9, 9), 3 * torch.randn(2, 36, 5, 5), torch.rand(2, 18, 5, 5)
    for factor in (mask, None):
        ours = sample_and_convolve(x, offsets, theirs.weight, theirs.bias, factor, stride=2, padding=2, dilation=2)
        assert torch.equal(ours, theirs(x, offsets, factor))


def test_whole_offsets_shift_the_image() -> None:
    layer = DeformableConv2d(1, 1, 3, bias=False).double()
    with torch.no_grad():
        layer.offset.bias[::2] = 1  # every tap one row down
        layer.offset.bias[1::2] = -2  # and two columns left
    x = torch.rand(1, 1, 7, 7, dtype=torch.float64)
    shifted = F.pad(x, (2, 0, 0, 1))[:, :, 1:, :-2]
    ordinary = F.conv2d(shifted, layer.weight, padding=1)
    torch.testing.assert_close(layer(x)[:, :, 1:-1, 1:-1], ordinary[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize("modulated", [False, True])
def test_everything_is_trained(modulated: bool) -> None:
    torch.manual_seed(0)
    layer = DeformableConv2d(2, 3, offset_groups=2, modulated=modulated).double()
    torch.nn.init.normal_(layer.offset.weight, std=0.3)
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["weight", "bias", "offset.weight", "offset.bias"]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()), fast_mode=True)


def test_groups_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UsageError, match="4 groups do not divide out_channels 6"):
        DeformableConv2d(4, 6, groups=4)
    with pytest.raises(UsageError, match="3 offset_groups do not divide in_channels 4"):
        DeformableConv2d(4, 6, offset_groups=3)


@pytest.mark.parametrize("modulated", [False, True])
def test_in_half_precision_it_reads_in_single(modulated: bool) -> None:
    torch.manual_seed(0)
    layer = DeformableConv2d(4, 6, modulated=modulated)
    torch.nn.init.normal_(layer.offset.weight, std=0.1)
    x = torch.randn(2, 4, 9, 8)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x)
    half = layer.bfloat16()(x.bfloat16())
    for result in (mixed, half):
        assert result.dtype == torch.bfloat16
        torch.testing.assert_close(result.float(), expected, rtol=0.05, atol=0.05)
