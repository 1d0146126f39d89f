"""Making maps larger: nearest, bilinear, transposed convolution, and why the last paints checkerboards.

Torch computes all three (`torch.nn.functional.interpolate`, `torch.nn.ConvTranspose2d`). Here is what lies beneath
them: the matrix of an interpolation, the transposed convolution as an ordinary one over a map with zeros between its
positions, its sizes, and two layers that upsample evenly.

A transposed convolution is the gradient of a convolution with respect to its input, used forwards: each position of
the map paints the kernel, scaled by its value, S pixels from the last one, and what overlaps adds up. Of N positions
it makes (Dumoulin and Visin 2016, relationship 14)

    (N − 1) · S − 2P + K' + output_padding.

Where the stride does not divide the kernel, pixels take turns in how many strokes they get: a checkerboard (Odena,
Dumoulin and Olah 2016, "Deconvolution and checkerboard artifacts"). A kernel that is a multiple of the stride, or
interpolating first and convolving then, avoids it: `strokes`, `bilinear_transposed_conv`, `ResizeConv2d`.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UnknownNameError, UsageError
from neocog.layers.conv import dilated_size, require_groups, require_not_negative, require_positive


def interpolation_matrix(
    size: int, out: int, mode: Literal["nearest", "bilinear"], *, align_corners: bool = False
) -> Tensor:
    """Return the weights with which each new pixel of an axis reads the old ones: A, so that a map becomes A x Bᵀ.

    Pixels are squares: the middle of new pixel i lies at (i + ½) · size / out − ½ of the old ones. Bilinear weighs the
    two about it by their distance; beyond the outermost middles stands the border pixel alone. From 2 to 4 pixels that
    gives weights 1, ¾ ¼, ¼ ¾, 1: a row 1 2 becomes 1 1.25 1.75 2. Nearest takes the old pixel that the new one's first
    edge lies in, as torch's "nearest" does; by its middle ("nearest-exact") is the same for whole factors.

    Args:
        size: old pixels.
        out: new pixels.
        mode: how.
        align_corners: bilinear with the middles of the first and last pixels on each other, steps of
            (size − 1) / (out − 1), as some segmentation networks have it.

    Returns:
        `(out, size)`, in double precision; each row sums to 1.

    Raises:
        UsageError: a size is not positive.
        UnknownNameError: another mode.
    """
    require_positive(size=size, out=out)
    if mode not in ("nearest", "bilinear"):
        raise UnknownNameError("interpolation", mode, ("nearest", "bilinear"))
    new = torch.arange(out, dtype=torch.float64)
    if mode == "nearest":
        return F.one_hot(torch.arange(out) * size // out, size).double()
    if align_corners:
        at = new * (size - 1) / max(1, out - 1)
    else:
        at = ((new + 0.5) * size / out - 0.5).clamp(0, size - 1)
    return (1 - (at[:, None] - torch.arange(size)).abs()).clamp(min=0)


def transposed_output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """Return how many pixels a transposed convolution makes of N along one axis: (N − 1) S − 2P + K' + output_padding.

    Args:
        size: N.
        kernel: K; K' is what it spans.
        stride: S.
        padding: P, pixels that are cut off at each end.
        output_padding: pixels that are added at the end. Convolutions of sizes that differ by less than S have one
            size of output; this says which of them is meant.
        dilation: pixels between two taps.

    Raises:
        UsageError: nothing would be left, a number is too small, or `output_padding` is not below stride or dilation.
    """
    require_positive(size=size, kernel=kernel, stride=stride, dilation=dilation)
    require_not_negative(padding=padding)
    if not 0 <= output_padding < max(stride, dilation):
        raise UsageError(f"output_padding is {output_padding}, must be below stride {stride} or dilation {dilation}")
    result = (size - 1) * stride - 2 * padding + dilated_size(kernel, dilation) + output_padding
    if result < 1:
        raise UsageError(
            f"padding {padding} leaves nothing of {result + 2 * padding} pixels, which a kernel of {kernel}"
            f" with stride {stride} makes of {size}"
        )
    return result


def zeros_between(x: Tensor, stride: int) -> Tensor:
    """Return a map with S − 1 zeros between neighbours: `(N, C, H, W)` to `(N, C, (H − 1) S + 1, (W − 1) S + 1)`."""
    spread = x.new_zeros(*x.shape[:2], *((size - 1) * stride + 1 for size in x.shape[2:]))
    spread[:, :, ::stride, ::stride] = x
    return spread


def transposed_by_zero_stuffing(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Return the transposed convolution as an ordinary one. To be read: it multiplies with S² as many zeros.

    The map gets zeros between its positions and K' − 1 − P around them, the kernel is turned round, and its inputs and
    outputs change places.

    Args:
        x: `(N, C_in, H, W)`.
        weight: `(C_in, C_out / groups, K, K)`, as `torch.nn.ConvTranspose2d` has it.
        bias: `(C_out,)`.
        stride: S.
        padding: P.
        output_padding: pixels more below and to the right.
        dilation: pixels between two taps.
        groups: of channels.

    Raises:
        UsageError: as `transposed_output_size`.
    """
    require_groups(x.shape[1], weight.shape[1] * groups, groups)
    for axis in (2, 3):
        transposed_output_size(x.shape[axis], weight.shape[axis], stride, padding, output_padding, dilation)
    around = [dilated_size(kernel, dilation) - 1 - padding for kernel in weight.shape[2:]]
    top, left = around
    spread = F.pad(zeros_between(x, stride), (left, left + output_padding, top, top + output_padding))
    turned = weight.view(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1).flip(2, 3)
    return F.conv2d(spread, turned, bias, dilation=dilation, groups=groups)


def strokes(size: int, kernel: int, stride: int) -> list[int]:
    """Return how many positions of a map of `size` paint each pixel of a transposed convolution's output.

    Away from the borders they are all K/S if the stride divides the kernel. If not, they alternate: for 3 and 2
    between 1 and 2 along an axis, in two axes between 1, 2 and 4, which is the checkerboard.
    """
    pixels = [0] * transposed_output_size(size, kernel, stride)
    for position in range(size):
        for tap in range(kernel):
            pixels[position * stride + tap] += 1
    return pixels


def bilinear_transposed_conv(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution that starts as bilinear upsampling, and can learn better.

    Long, Shelhamer and Darrell 2014, "Fully convolutional networks", section 3.3. Each channel has a kernel of its
    own, an outer product of 1 − |t| / factor about its middle; its size, 2 · factor − factor mod 2, is no multiple of
    the stride where the factor is odd, but there its taps sum to the same for every pixel. Equal to torch's
    `interpolate` but within factor / 2 pixels of the border, where zeros lie beyond.

    Shapes of the layer: `(N, channels, H, W)` to `(N, channels, factor · H, factor · W)`.

    Raises:
        UsageError: a number is not positive.
    """
    require_positive(channels=channels, factor=factor)
    kernel = 2 * factor - factor % 2
    middle = (kernel - 1) / 2
    taps = 1 - (torch.arange(kernel) - middle).abs() / factor
    layer = nn.ConvTranspose2d(
        channels, channels, kernel, factor, padding=(kernel - factor) // 2, groups=channels, bias=False
    )
    with torch.no_grad():
        layer.weight.copy_(torch.outer(taps, taps).expand_as(layer.weight))
    return layer


class ResizeConv2d(nn.Module):
    """Enlarges by interpolation, then convolves: no checkerboard, whatever the kernel.

    Odena, Dumoulin and Olah 2016, who recommend nearest.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, scale · H, scale · W)`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd.
        scale: times the size.
        mode: of the interpolation.
        bias: whether each filter adds a number of its own.

    Raises:
        UsageError: the kernel is even, or the scale is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        scale: int = 2,
        mode: Literal["nearest", "bilinear"] = "nearest",
        bias: bool = True,
    ) -> None:
        require_groups(in_channels, out_channels, 1)
        require_positive(kernel_size=kernel_size, scale=scale)
        if kernel_size % 2 == 0:
            raise UsageError(f"kernel_size is {kernel_size}, must be odd: an even one would shift the map")
        super().__init__()
        self.scale, self.mode = scale, mode
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the enlarged `x`."""
        larger: Tensor = F.interpolate(x, scale_factor=self.scale, mode=self.mode)
        result: Tensor = self.conv(larger)
        return result
