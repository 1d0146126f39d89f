"""Convolutions whose taps move to where the image tells them.

An ordinary kernel reads x at p_0 + p_n, p_n being its grid. A deformable one reads at p_0 + p_n + Δp_n, where the
offsets Δp_n are predicted at each position by a convolution of the same input (Dai et al. 2017, "Deformable
Convolutional Networks", equation 2), and the second version weighs each tap besides (Zhu et al. 2018, "Deformable
ConvNets v2", equation 1):

    y(p_0) = Σ_n w(p_n) · x(p_0 + p_n + Δp_n)             version 1
    y(p_0) = Σ_n w(p_n) · x(p_0 + p_n + Δp_n) · Δm_n      version 2, 0 ≤ Δm_n ≤ 1

Between pixels x is interpolated bilinearly, and beyond the border it is zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.conv import require_groups, require_not_negative, require_positive


class DeformableConv2d(nn.Module):
    """A deformable convolution with the convolution that predicts its offsets.

    That one starts at zero, so that the layer starts as an ordinary convolution (with `modulated`, as half of one:
    Δm = sigmoid(0)). Version 2 trains it at a tenth of the other layers' rate (section 3.2), which is the recipe's to
    give.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H', W')`.

    Attributes:
        weight: `(out_channels, in_channels / groups, K, K)`.
        offset: the convolution to `2 · offset_groups · K²` channels, row and column of each tap in turn, and
            `offset_groups · K²` more for Δm.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: K, of both convolutions.
        stride: of both.
        padding: of both; None for what keeps the size at stride 1 with an odd kernel.
        dilation: of both.
        groups: of the channels, as in any convolution.
        offset_groups: of input channels that share offsets.
        bias: whether each filter adds a number of its own.
        modulated: version 2.

    Raises:
        UsageError: the groups do not divide the channels, or a number is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        offset_groups: int = 1,
        bias: bool = True,
        modulated: bool = False,
    ) -> None:
        require_groups(in_channels, out_channels, groups)
        require_positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
        require_not_negative(padding=padding or 0)
        if offset_groups < 1 or in_channels % offset_groups:
            raise UsageError(f"{offset_groups} offset_groups do not divide in_channels {in_channels}")
        super().__init__()
        self.stride, self.dilation, self.modulated = stride, dilation, modulated
        self.padding = dilation * (kernel_size - 1) // 2 if padding is None else padding
        self.moved = offset_groups * kernel_size**2
        # An ordinary convolution's weights, drawn as torch draws them.
        plain = nn.Conv2d(in_channels, out_channels, kernel_size, groups=groups, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias
        self.offset = nn.Conv2d(
            in_channels, (3 if modulated else 2) * self.moved, kernel_size, stride, self.padding, dilation
        )
        self.init_offsets()

    def init_offsets(self) -> None:
        """Let every tap stand where an ordinary convolution has it."""
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the deformable convolution of `x`."""
        predicted = self.offset(x)
        offsets, mask = predicted, None
        if self.modulated:
            offsets, mask = predicted.split([2 * self.moved, self.moved], 1)
            mask = torch.sigmoid(mask)
        return sample_and_convolve(
            x, offsets, self.weight, self.bias, mask, stride=self.stride, padding=self.padding, dilation=self.dilation
        )


def sample_and_convolve(
    x: Tensor,
    offsets: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Return `x` read at given offsets and convolved: torchvision's operation, which is imported when it is needed.

    It computes in single precision at least, and returns the precision of the offsets.

    Args:
        x: `(N, C, H, W)`.
        offsets: `(N, 2 · offset_groups · K², H', W')`, in pixels, row and column of each tap in turn.
        weight: `(C_out, C / groups, K, K)`.
        bias: `(C_out,)`.
        mask: `(N, offset_groups · K², H', W')`, a factor for each tap.
        stride: between two outputs.
        padding: zeros at each border.
        dilation: between two taps where the offsets are zero.
    """
    from torchvision.ops import deform_conv2d

    precision = torch.promote_types(x.dtype, torch.float32)  # the operation knows no bfloat16
    x, weight = x.to(precision), weight.to(precision)
    bias, mask = (None if given is None else given.to(precision) for given in (bias, mask))
    result: Tensor = deform_conv2d(x, offsets.to(precision), weight, bias, stride, padding, dilation, mask)
    return result.to(offsets.dtype)
