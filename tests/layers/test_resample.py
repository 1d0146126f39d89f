"""Upsampling: the lectures' tables, torch's interpolation, and transposed convolution with zeros between."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UnknownNameError, UsageError
from neocog.layers.resample import (
    ResizeConv2d,
    bilinear_transposed_conv,
    interpolation_matrix,
    strokes,
    transposed_by_zero_stuffing,
    transposed_output_size,
    zeros_between,
)

TWO_BY_TWO = torch.tensor([[1.0, 2], [3, 4]], dtype=torch.float64)


def enlarged(image: Tensor, height: int, width: int, mode: str, **options: bool) -> Tensor:
    rows, columns = image.shape[-2:]
    down, across = (
        interpolation_matrix(rows, height, mode, **options),
        interpolation_matrix(columns, width, mode, **options),
    )
    return down @ image @ across.T


def test_the_lectures_table_of_nearest_neighbours() -> None:
    table = torch.tensor([[1.0, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]], dtype=torch.float64)
    assert torch.equal(enlarged(TWO_BY_TWO, 4, 4, "nearest"), table)
    assert torch.equal(F.interpolate(TWO_BY_TWO[None, None], scale_factor=2, mode="nearest")[0, 0], table)


def test_the_lectures_bilinear_table_with_a_quarter_more_in_its_second_row() -> None:
    printed = torch.tensor(
        [[1.00, 1.25, 1.75, 2.00], [1.50, 1.75, 2.00, 2.50], [2.50, 2.75, 3.25, 3.50], [3.00, 3.25, 3.75, 4.00]],
        dtype=torch.float64,
    )
    table = printed.clone()
    table[1, 2] = 2.25  # the lecture prints 2.00, where its own columns step by 0.25, 0.50 and 0.25
    assert torch.equal(enlarged(TWO_BY_TWO, 4, 4, "bilinear"), table)
    by_torch = F.interpolate(TWO_BY_TWO[None, None], scale_factor=2, mode="bilinear")[0, 0]
    assert torch.equal(by_torch, table)
    assert (by_torch != printed).sum() == 1


@pytest.mark.parametrize(("size", "out"), [((2, 3), (4, 9)), ((5, 4), (7, 10)), ((6, 5), (3, 4)), ((1, 4), (3, 1))])
@pytest.mark.parametrize("corners", [False, True])
def test_interpolation_is_torchs(size: tuple[int, int], out: tuple[int, int], corners: bool) -> None:
    x = torch.rand(1, 1, *size, dtype=torch.float64)
    theirs = F.interpolate(x, size=out, mode="bilinear", align_corners=corners)[0, 0]
    torch.testing.assert_close(enlarged(x[0, 0], *out, "bilinear", align_corners=corners), theirs)
    assert torch.equal(enlarged(x[0, 0], *out, "nearest"), F.interpolate(x, size=out, mode="nearest")[0, 0])


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_both_kinds_of_nearest_are_one_for_whole_factors(factor: int) -> None:
    x = torch.rand(1, 1, 3, 4, dtype=torch.float64)
    exact = F.interpolate(x, scale_factor=factor, mode="nearest-exact")[0, 0]
    assert torch.equal(enlarged(x[0, 0], 3 * factor, 4 * factor, "nearest"), exact)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("padding", "dilation", "extra"), [(0, 1, 0), (1, 1, 0), (1, 2, 1), (3, 1, 0)])
def test_transposed_sizes_and_values_are_torchs(
    kernel: int, stride: int, padding: int, dilation: int, extra: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64)
    layer = nn.ConvTranspose2d(4, 6, kernel, stride, padding, extra, groups=2, dilation=dilation).double()
    given = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation}
    sizes = [(size - 1) * stride - 2 * padding + (kernel - 1) * dilation + 1 + extra for size in (4, 3)]
    if min(sizes) < 1:
        with pytest.raises(UsageError, match="leaves nothing"):
            transposed_by_zero_stuffing(x, layer.weight, layer.bias, groups=2, **given)
        return
    expected = layer(x)
    assert expected.shape[2:] == tuple(transposed_output_size(size, kernel, **given) for size in (4, 3))
    ours = transposed_by_zero_stuffing(x, layer.weight, layer.bias, groups=2, **given)
    torch.testing.assert_close(ours, expected)


def test_a_transposed_convolution_is_the_gradient_of_a_convolution() -> None:
    x = torch.randn(1, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    y = F.conv2d(x, kernel, stride=2, padding=1)
    upstream = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    # 9 and 10 rows both become 5, and 8 columns 4: one of the two sizes is asked for by a pixel more.
    assert [transposed_output_size(n, 3, 2, 1, more) for n, more in ((5, 0), (4, 1))] == [9, 8]
    ours = transposed_by_zero_stuffing(F.pad(upstream, (0, 1)), kernel, stride=2, padding=1)[..., :8]
    torch.testing.assert_close(ours, gradient)


def test_zeros_stand_between() -> None:
    assert zeros_between(TWO_BY_TWO[None, None], 3)[0, 0].tolist() == [[1, 0, 0, 2], [0] * 4, [0] * 4, [3, 0, 0, 4]]


@pytest.mark.parametrize("output_padding", [-1, 2])
def test_output_padding_is_below_the_stride(output_padding: int) -> None:
    with pytest.raises(UsageError, match=f"output_padding is {output_padding}, must be below stride 2"):
        transposed_output_size(4, 3, 2, output_padding=output_padding)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (5, 2), (4, 3), (6, 3), (2, 2), (2, 3)])
def test_strokes_are_what_ones_paint_and_even_where_the_stride_divides_the_kernel(kernel: int, stride: int) -> None:
    counts = strokes(8, kernel, stride)
    painted = F.conv_transpose1d(torch.ones(1, 1, 8), torch.ones(1, 1, kernel), stride=stride)
    assert counts == painted.flatten().tolist()
    inner = counts[kernel:-kernel]
    assert (len(set(inner)) == 1) == (kernel % stride == 0)
    if kernel % stride == 0:
        assert inner[0] == kernel // stride


def test_three_by_three_with_stride_two_paints_a_checkerboard() -> None:
    painted = F.conv_transpose2d(torch.ones(1, 1, 6, 6), torch.ones(1, 1, 3, 3), stride=2)[0, 0, 3:-3, 3:-3]
    assert sorted(set(painted.flatten().tolist())) == [1, 2, 4]


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_a_transposed_convolution_can_interpolate(factor: int) -> None:
    layer = bilinear_transposed_conv(3, factor).double()
    x = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    ours, theirs = layer(x), F.interpolate(x, scale_factor=factor, mode="bilinear")
    assert ours.shape == theirs.shape
    edge = factor // 2
    inner = (..., slice(edge, 6 * factor - edge), slice(edge, 5 * factor - edge))
    # Its weights are single precision's.
    torch.testing.assert_close(ours[inner], theirs[inner], rtol=1e-6, atol=1e-7)
    assert layer.weight.requires_grad


def test_resizing_first_paints_no_checkerboard() -> None:
    torch.manual_seed(0)
    layer = ResizeConv2d(2, 3, scale=2)
    flat = layer(torch.ones(1, 2, 6, 6))
    assert flat.shape == (1, 3, 12, 12)
    inner = flat[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(inner, inner[:, :, :1, :1].expand_as(inner))
    transposed = nn.ConvTranspose2d(2, 3, 3, 2)(torch.ones(1, 2, 6, 6))[:, :, 3:-3, 3:-3]
    assert transposed.std((2, 3)).min() > 1e-2
    for mode in ("nearest", "bilinear"):
        layer = ResizeConv2d(2, 3, 5, scale=3, mode=mode)
        x = torch.rand(1, 2, 4, 3)
        expected = F.conv2d(F.interpolate(x, scale_factor=3, mode=mode), layer.conv.weight, layer.conv.bias, padding=2)
        assert torch.equal(layer(x), expected)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="size is 0"):
        interpolation_matrix(0, 4, "bilinear")
    with pytest.raises(UnknownNameError, match="unknown interpolation 'cubic'"):
        interpolation_matrix(2, 4, "cubic")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="padding is -1, must be at least 0"):
        transposed_output_size(3, 3, 2, -1)
    with pytest.raises(UsageError, match="kernel_size is 4, must be odd"):
        ResizeConv2d(2, 3, 4)
    with pytest.raises(UsageError, match="factor is 0"):
        bilinear_transposed_conv(2, 0)
