"""Sizes, parameters and multiply-adds: the lectures' figures, and what torch makes and fvcore counts."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neocog.errors import UsageError
from neocog.layers.conv import (
    conv_output_size,
    convolution_macs,
    convolution_parameters,
    dilated_size,
    require_groups,
    zero_stuffed,
)


def test_the_lectures_seven_pixels_and_three_taps() -> None:
    assert conv_output_size(7, 3, 1) == 5
    assert conv_output_size(7, 3, 2) == 3
    assert conv_output_size(7, 3, 1, padding=1) == 7
    with pytest.raises(UsageError, match=r"3 with stride 3 does not fit an input of 7: \(7 - 3\) / 3 \+ 1 = 2\.33;"):
        conv_output_size(7, 3, 3)


def test_torch_rounds_down_what_does_not_fit() -> None:
    assert nn.Conv2d(1, 1, 3, 3)(torch.zeros(1, 1, 7, 7)).shape[2:] == (2, 2)
    assert conv_output_size(7, 3, 3, floor=True) == 2


def test_padding_by_half_the_kernel_keeps_the_size() -> None:
    assert [conv_output_size(32, kernel, padding=(kernel - 1) // 2) for kernel in (1, 3, 5, 7)] == [32] * 4
    assert [conv_output_size(size, 5) for size in (32, 28)] == [28, 24]


def test_the_lectures_dilated_kernel_spans_five_of_seven_pixels() -> None:
    assert dilated_size(3, 2) == 5
    assert conv_output_size(7, 3, dilation=2) == 3


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_sizes_are_torchs(size: int, kernel: int, stride: int) -> None:
    for padding, dilation in ((0, 1), (1, 1), (2, 2)):
        layer = nn.Conv1d(1, 1, kernel, stride, padding, dilation, device="meta")
        spanned, room = (kernel - 1) * dilation + 1, size + 2 * padding
        if spanned > room:
            with pytest.raises(UsageError, match=f"does not fit .*{spanned} > {room}"):
                conv_output_size(size, kernel, stride, padding, dilation)
            continue
        made = layer(torch.empty(1, 1, size, device="meta")).shape[2]
        assert conv_output_size(size, kernel, stride, padding, dilation, floor=True) == made
        exact = (room - spanned) / stride + 1
        if exact == math.floor(exact):
            assert conv_output_size(size, kernel, stride, padding, dilation) == made


@pytest.mark.parametrize("wrong", [{"kernel": 0}, {"stride": 0}, {"dilation": 0}, {"padding": -1}, {"size": 0}])
def test_sizes_that_are_none_are_refused(wrong: dict[str, int]) -> None:
    given = {"size": 7, "kernel": 3, **wrong}
    name, value = next(iter(wrong.items()))
    with pytest.raises(UsageError, match=f"{name} is {value}"):
        conv_output_size(**given)


def test_ten_filters_of_five_by_five_on_three_channels_have_760_parameters() -> None:
    assert convolution_parameters(3, 10, 5) == 760
    assert convolution_macs(3, 10, 5, (32, 32)) == 750 * 32 * 32


def test_each_filter_has_one_bias_where_a_lecture_prints_one_for_each_input_channel() -> None:
    # Printed: C_in (K K + 1) C_out. It is (C_in K K + 1) C_out.
    printed, right = 3 * (25 + 1) * 10, (3 * 25 + 1) * 10
    assert convolution_parameters(3, 10, 5) == right == sum(p.numel() for p in nn.Conv2d(3, 10, 5).parameters())
    assert printed != right


def test_a_grouped_kernel_is_square_where_a_lecture_prints_one_k() -> None:
    # Printed: C_in / G · K · C_out, beside a tensor [C_out, C_in / G, K, K].
    assert convolution_parameters(6, 12, 3, groups=2, bias=False) == 6 // 2 * 3 * 3 * 12
    assert convolution_parameters(6, 12, 3, groups=2, bias=False) == nn.Conv2d(6, 12, 3, groups=2).weight.numel()


def test_pointwise_costs_are_one_ninth_of_three_by_threes_not_a_ninth_less() -> None:
    full, pointwise = (convolution_macs(64, 64, kernel, (56, 56)) for kernel in (3, 1))
    assert 9 * pointwise == full


def test_three_small_kernels_cost_27_where_one_large_costs_49() -> None:
    assert 3 * convolution_parameters(8, 8, 3, bias=False) == 27 * 8**2
    assert convolution_parameters(8, 8, 7, bias=False) == 49 * 8**2


def test_the_inception_modules_operations_of_the_lecture() -> None:
    def ops(out: int, kernel: int, channels: int = 256) -> int:
        return convolution_macs(channels, out, kernel, (28, 28))

    assert ops(128, 1) + ops(192, 3) + ops(96, 5) == 854_196_224
    reduced = ops(64, 1) + ops(64, 1) + ops(128, 1) + ops(192, 3, 64) + ops(96, 5, 64) + ops(64, 1)
    assert reduced == 271_351_808  # the lecture prints 358M: it counts the 3x3 twice


@pytest.mark.parametrize(
    ("layer", "image"),
    [
        (nn.Conv1d(6, 4, 5, groups=2, bias=False), (20,)),
        (nn.Conv2d(6, 4, (3, 5), groups=2), (9, 8)),
        (nn.Conv2d(6, 12, 3, 2, groups=6), (9, 8)),
        (nn.Conv3d(6, 4, 3, groups=2), (5, 6, 7)),
    ],
)
def test_formulas_count_what_torch_has_and_fvcore_counts(layer: nn.Conv2d, image: tuple[int, ...]) -> None:
    from fvcore.nn import FlopCountAnalysis

    x = torch.zeros(1, 6, *image)
    parameters = convolution_parameters(
        6, layer.out_channels, layer.kernel_size, groups=layer.groups, bias=layer.bias is not None
    )
    assert parameters == sum(parameter.numel() for parameter in layer.parameters())
    macs = convolution_macs(6, layer.out_channels, layer.kernel_size, layer(x).shape[2:], groups=layer.groups)
    assert macs == FlopCountAnalysis(layer, x).unsupported_ops_warnings(False).total()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_zero_stuffed_kernel_does_what_dilation_does(axes: int) -> None:
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    generator = torch.Generator().manual_seed(axes)
    x = torch.randn(2, 4, *[11, 10, 9][:axes], generator=generator, dtype=torch.float64)
    kernel = torch.randn(6, 2, *[3, 2, 3][:axes], generator=generator, dtype=torch.float64)
    dilation = (2, 3, 1)[:axes]
    stuffed = zero_stuffed(kernel, dilation)
    assert stuffed.shape[2:] == tuple(dilated_size(k, d) for k, d in zip(kernel.shape[2:], dilation, strict=True))
    torch.testing.assert_close(convolve(x, stuffed, groups=2), convolve(x, kernel, dilation=dilation, groups=2))


def test_a_kernel_without_dilation_is_left_as_it_is() -> None:
    kernel = torch.rand(2, 3, 3, 3)
    assert torch.equal(zero_stuffed(kernel, 1), kernel)
    with pytest.raises(UsageError, match="3 sizes"):
        zero_stuffed(kernel, (1, 2, 3))


def test_groups_that_do_not_divide_are_refused_with_the_numbers() -> None:
    require_groups(6, 4, 2)
    for given in ((6, 4, 4), (4, 6, 4)):
        with pytest.raises(UsageError, match=r"4 groups do not divide (in|out)_channels 6: 6 % 4 = 2"):
            require_groups(*given)
    with pytest.raises(UsageError, match="0 channels to 4 in 1 groups"):
        convolution_parameters(0, 4, 3)
