"""`Conv2dSame` pads as TensorFlow does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from neocog.layers.conv import Conv2dSame


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (7, 8), (1, 5), (33, 34)])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 2, 1), (2, 2, 1), (3, 2, 2), (1, 2, 1)]
)
def test_output_is_the_input_divided_by_the_stride_rounded_up(
    size: tuple[int, int], kernel: int, stride: int, dilation: int
) -> None:
    convolution = Conv2dSame(4, 6, kernel, stride, dilation=dilation, groups=2)
    expected = tuple(-(-side // stride) for side in size)
    assert convolution(torch.rand(2, 4, *size)).shape == (2, 6, *expected)


def test_an_even_side_is_padded_after_it_alone() -> None:
    convolution = Conv2dSame(1, 1, 3, 2, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.arange(9.0).view(1, 1, 3, 3))
    x = torch.rand(1, 1, 6, 6)
    expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), convolution.weight, stride=2)
    assert torch.equal(convolution(x), expected)
    assert not torch.allclose(convolution(x), F.conv2d(x, convolution.weight, stride=2, padding=1))


def test_an_odd_side_is_padded_as_pytorch_does() -> None:
    convolution = Conv2dSame(2, 3, 3, 2)
    x = torch.rand(1, 2, 7, 7)
    assert torch.equal(convolution(x), F.conv2d(x, convolution.weight, convolution.bias, 2, 1))


def test_it_equals_timms() -> None:
    from timm.layers import Conv2dSame as Theirs

    ours, theirs = Conv2dSame(3, 4, 5, 3), Theirs(3, 4, 5, 3)
    theirs.load_state_dict(ours.state_dict())
    for size in range(5, 12):
        x = torch.rand(1, 3, size, size + 1)
        torch.testing.assert_close(ours(x), theirs(x))
