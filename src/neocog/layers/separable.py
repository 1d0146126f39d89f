"""Convolutions in cheaper steps: depthwise separable, spatially separable, grouped pointwise.

What each saves against a full convolution of K×K stands in the table of `neocog.layers.conv`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.conv import require_groups, require_not_negative, require_positive


class DepthwiseSeparableConv2d(nn.Sequential):
    """A convolution in two steps: each channel filtered by itself, then all mixed at each position.

    Multiply-adds are 1/C_out + 1/K² of the full convolution's, for 3×3 an eighth to a ninth (Howard et al. 2017,
    MobileNets, section 3.1). It is the full convolution with the kernel K(i, j, c_in, c_out) = D(i, j, c_in) ·
    P(c_in, c_out). Nothing stands between the two, as in Xception (Chollet 2016, section 4.7); MobileNets put batch
    norm and ReLU there, and are built of two convolutions.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H', W')`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: K.
        stride: of the depthwise step, the one that looks around.
        padding: zeros at each border.
        dilation: of the depthwise step.
        bias: of the pointwise step; before it, one would be lost in the mixing.

    Raises:
        UsageError: a number is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        require_groups(in_channels, out_channels, 1)
        require_positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
        require_not_negative(padding=padding)
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, dilation, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)


class SpatiallySeparableConv2d(nn.Sequential):
    """A K×1 convolution, then a 1×K one: 2/K of the parameters and multiply-adds.

    With as many groups as channels it is a filter whose kernel is an outer product, such as Sobel's, Gauss's or a box;
    `separate` finds the factors. With one group it is what Inception v3 factorises n×n into (Szegedy et al. 2015,
    section 3.2), there with batch norm and ReLU after each step.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H', W')`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, and between the steps.
        kernel_size: K.
        stride: along the axis of each step.
        padding: zeros at each border.
        dilation: along the axis of each step.
        groups: of each step.
        bias: of the second step.

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
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        require_groups(in_channels, out_channels, groups)
        require_positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
        require_not_negative(padding=padding)
        super().__init__()
        self.vertical = nn.Conv2d(
            in_channels, out_channels, (kernel_size, 1), (stride, 1), (padding, 0), (dilation, 1), groups, bias=False
        )
        self.horizontal = nn.Conv2d(
            out_channels, out_channels, (1, kernel_size), (1, stride), (0, padding), (1, dilation), groups, bias=bias
        )


def separate(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return the column and the row whose outer product a kernel is.

    Args:
        kernel: `(K, L)`, of floating-point numbers.

    Raises:
        UsageError: it is none: its second singular value is more than rounding; or it is no matrix of such numbers.
    """
    if kernel.ndim != 2 or not kernel.is_floating_point():
        raise UsageError(
            f"a kernel to separate is a matrix of floating-point numbers, not {tuple(kernel.shape)} of {kernel.dtype}"
        )
    left, values, right = torch.linalg.svd(kernel)
    rounding = max(kernel.shape) * torch.finfo(kernel.dtype).eps * values[0]
    if min(kernel.shape) > 1 and values[1] > rounding:
        raise UsageError(f"the kernel is no outer product: its singular values are {values.tolist()}")
    root = values[0].sqrt()
    return left[:, 0] * root, right[0] * root


class GroupedPointwiseConv2d(nn.Conv2d):
    """A 1×1 convolution in groups: C_in/G · C_out parameters, channels being mixed within each group only.

    ESPNetv2 (Mehta et al. 2018, section 3.2) reduces by one before its parallel branches, and merges after them by
    another: K pointwise convolutions, one for each of K branches, are one of K groups on the branches' concatenation
    (figure 1b and 1c). `of_branches` makes that one. To let groups learn of each other something must mix them: there
    the sum of neighbouring branches, in ShuffleNet a shuffle of channels.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H, W)`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        groups: G.
        bias: whether each filter adds a number of its own.

    Raises:
        UsageError: the groups do not divide the channels.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int, *, bias: bool = True) -> None:
        require_groups(in_channels, out_channels, groups)
        super().__init__(in_channels, out_channels, 1, groups=groups, bias=bias)

    @classmethod
    @torch.no_grad()
    def of_branches(cls, branches: Sequence[nn.Conv2d]) -> GroupedPointwiseConv2d:
        """Return the one that does to a concatenation what the given 1×1 convolutions do to its parts.

        Raises:
            UsageError: they are not 1×1, or not alike, or there are none.
        """
        if not branches:
            raise UsageError("there are no branches to make one convolution of")
        first = branches[0]
        plain = all(branch.stride == (1, 1) and branch.padding == (0, 0) for branch in branches)
        shapes = {tuple(branch.weight.shape) for branch in branches}
        if len(shapes) > 1 or first.kernel_size != (1, 1) or first.groups > 1 or not plain:
            raise UsageError(f"branches must be alike, 1x1 with stride 1 and in one group, not {list(branches)}")
        count = len(branches)
        biases = [branch.bias for branch in branches if branch.bias is not None]
        if len(biases) not in (0, count):
            raise UsageError(f"{len(biases)} of {count} branches have a bias: all must, or none")
        merged = cls(count * first.in_channels, count * first.out_channels, count, bias=bool(biases))
        merged.weight.copy_(torch.cat([branch.weight for branch in branches]))
        if merged.bias is not None:
            merged.bias.copy_(torch.cat(biases))
        return merged.to(first.weight)
