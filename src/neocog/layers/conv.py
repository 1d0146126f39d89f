"""The arithmetic of convolutions, and one that torch does not have: padded as TensorFlow pads.

Sizes, parameters and multiply-adds follow from a layer's numbers alone. With C_in channels in, C_out out, a kernel of
K×K, G groups and an output of H×W (Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning"):

    kernel with dilation d     K' = K + (K − 1)(d − 1)
    output                     H = (H_in + 2P − K') / S + 1
    parameters                 (C_in/G · K² + 1) · C_out      the 1 being the bias
    multiply-adds              C_in/G · K² · H · W · C_out

| convolution | groups | parameters without bias, against a full one |
|---|---|---|
| pointwise | 1 | 1/K² |
| grouped | G | 1/G |
| depthwise | C_in | 1/C_in |
| depthwise separable | C_in, then 1 | 1/C_out + 1/K² |
| spatially separable, K×1 then 1×K | 1 | 2/K |

All of it holds in one, two and three dimensions, with a size for each. A 1-D convolution is a 2-D one of height 1; a
3-D one adds up, for each frame, a 2-D one of every frame within its depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, prod

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError

Size = int | Sequence[int]
"""One number, or one for each spatial axis."""


def conv_output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, *, floor: bool = False
) -> int:
    """Return how many positions a kernel takes along one axis: (N − K' + 2P) / S + 1.

    A kernel fits only if its last step ends at the border: 3 wide with stride 3 does not fit 7 pixels, (7 − 3) / 3 + 1
    being 2.33. Torch rounds down to 2 and never reads the last pixel; so does this with `floor`.

    Args:
        size: pixels of the input, N.
        kernel: taps, K; K' is what they span.
        stride: pixels between two positions, S.
        padding: pixels added at each end, P.
        dilation: pixels between two taps.
        floor: round down where the steps leave pixels over.

    Raises:
        UsageError: the kernel does not fit, with the numbers.
    """
    require_positive(size=size, kernel=kernel, stride=stride, dilation=dilation)
    require_not_negative(padding=padding)
    spanned = dilated_size(kernel, dilation)
    room = size + 2 * padding - spanned
    what = f"a kernel of {kernel}" + (f", which dilation {dilation} spreads over {spanned}," if dilation > 1 else "")
    where = f"an input of {size}" + (f" padded by {padding}" if padding else "")
    if room < 0:
        raise UsageError(f"{what} does not fit {where}: {spanned} > {size + 2 * padding}")
    if room % stride and not floor:
        raise UsageError(
            f"{what} with stride {stride} does not fit {where}: ({size + 2 * padding} - {spanned}) / {stride} + 1 ="
            f" {room / stride + 1:.2f}; rounded down to {room // stride + 1}, the last {room % stride} are never read"
        )
    return room // stride + 1


def dilated_size(kernel: int, dilation: int) -> int:
    """Return the pixels that a kernel spans whose taps are `dilation` apart: F' = F + (F − 1)(d − 1)."""
    return kernel + (kernel - 1) * (dilation - 1)


def zero_stuffed(kernel: Tensor, dilation: Size) -> Tensor:
    """Return the kernel that does without dilation what `kernel` does with it: zeros stand between its taps.

    Shapes: `(C_out, C_in / groups, K, ...)` to `(C_out, C_in / groups, K', ...)`, of one, two or three axes.
    """
    axes = kernel.ndim - 2
    steps = per_axis(dilation, axes)
    spans = [dilated_size(size, step) for size, step in zip(kernel.shape[2:], steps, strict=True)]
    stuffed = kernel.new_zeros(*kernel.shape[:2], *spans)
    stuffed[(slice(None), slice(None), *[slice(None, None, step) for step in steps])] = kernel
    return stuffed


def convolution_parameters(
    in_channels: int, out_channels: int, kernel: Size, *, axes: int = 2, groups: int = 1, bias: bool = True
) -> int:
    """Return the parameters of a convolution: (C_in/G · K² + 1) · C_out, without the 1 if it has no bias.

    Ten 5×5 filters on three channels have (3 · 25 + 1) · 10 = 760.

    Args:
        in_channels: C_in.
        out_channels: C_out, the number of filters.
        kernel: one size, or one for each axis.
        axes: spatial axes, where `kernel` is one number.
        groups: G.
        bias: whether each filter adds a number of its own.

    Raises:
        UsageError: the groups do not divide the channels.
    """
    require_groups(in_channels, out_channels, groups)
    taps = kernel**axes if isinstance(kernel, int) else prod(kernel)
    return (in_channels // groups * taps + bias) * out_channels


def convolution_macs(
    in_channels: int, out_channels: int, kernel: Size, output: Sequence[int], *, groups: int = 1
) -> int:
    """Return the multiply-adds of a convolution on one image: C_in/G · K² · H · W · C_out.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel: one size, or one for each axis.
        output: size of the output along each axis, `(H, W)`.
        groups: G.

    Raises:
        UsageError: the groups do not divide the channels.
    """
    sizes = per_axis(kernel, len(output))
    weights = convolution_parameters(in_channels, out_channels, sizes, groups=groups, bias=False)
    return weights * prod(output)


def require_positive(**numbers: int) -> None:
    """Refuse numbers below 1, by their names, with a `UsageError` that says which one is and what it is."""
    _require(numbers, lambda number: number >= 1, "at least 1")


def require_not_negative(**numbers: int) -> None:
    """Refuse numbers below 0, by their names, with a `UsageError` that says which one is and what it is."""
    _require(numbers, lambda number: number >= 0, "at least 0")


def require_finite(**numbers: float) -> None:
    """Refuse infinities and NaN, by their names, with a `UsageError` that says which one is and what it is."""
    _require(numbers, isfinite, "finite")


def _require(numbers: Mapping[str, float], holds: Callable[[float], bool], what: str) -> None:
    for name, number in numbers.items():
        if not holds(number):
            raise UsageError(f"{name} is {number}, must be {what}")


def require_groups(in_channels: int, out_channels: int, groups: int) -> None:
    """Refuse channels that are none, and groups that do not divide them.

    Raises:
        UsageError: with the numbers.
    """
    if min(in_channels, out_channels, groups) < 1:
        raise UsageError(f"{in_channels} channels to {out_channels} in {groups} groups: all must be positive")
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise UsageError(f"{groups} groups do not divide {name} {channels}: {channels} % {groups} ="
                             f" {channels % groups}")  # fmt: skip


class Conv2dSame(nn.Conv2d):
    """A convolution padded as TensorFlow's "same" does: output ceil(H / stride) x ceil(W / stride).

    What padding that takes depends on the input's size. Where it is odd, the extra zeros go below and to the right: a
    3x3 of stride 2 on an even side is padded by none before and one after, where PyTorch's padding of 1 gives one
    before and none that is used after, so that each window lies one pixel further up and left. Weights
    trained with one lose several points of accuracy with the other.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input`."""
        top, bottom = self._padding(input.shape[2], 0)
        left, right = self._padding(input.shape[3], 1)
        if top == bottom and left == right:
            return F.conv2d(input, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        padded = F.pad(input, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _padding(self, size: int, side: int) -> tuple[int, int]:
        """Return the zeros before and after along one side of the image (0: height, 1: width)."""
        stride = self.stride[side]
        reach = (self.kernel_size[side] - 1) * self.dilation[side] + 1
        total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        return total // 2, total - total // 2


def per_axis(value: Size, axes: int) -> tuple[int, ...]:
    """Return a size for each axis.

    Raises:
        UsageError: there are sizes for other than so many axes.
    """
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes:
        raise UsageError(f"{len(values)} sizes {values} for {axes} axes")
    return values
