"""Residual blocks, which add to their input what they compute of it, and the ways for that input around them.

He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385. The networks that came
after it kept these blocks, and widened, divided, weighed or left out what is in them. Submodules bear the names on
which timm and torchvision agree.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.drop import add_rows

Shortcut = Literal["A", "B", "C", "none"]


def check_stages(depths: tuple[int, ...], width: int) -> None:
    """Raise `UsageError` unless each of `depths` is a number of blocks, and `width` one of filters."""
    if not depths or min(depths) < 1:
        raise UsageError(f"depths are the blocks of each stage, at least 1 in each; not {depths}")
    if width < 1:
        raise UsageError(f"width is the number of filters in the first stage, at least 1; not {width}")


class PaddedIdentity(nn.Module):
    """Shortcut A: every `stride`-th pixel of x, then zeros for the channels that x lacks. It has no parameters.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.zero_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return x, subsampled and padded."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.zero_channels))


def make_shortcut(option: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Return the path of x around a block (section 4.1), or None in a plain network.

    Where the shape changes, "A" pads x with zeros and "B" projects it by a 1x1 convolution; "C" projects it in every
    block; with "none" nothing goes around.
    """
    if option == "none":
        return None
    if option != "C" and stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return PaddedIdentity(in_channels, out_channels, stride)
    return projection(in_channels, out_channels, stride)


def projection(in_channels: int, out_channels: int, stride: int, kernel_size: int = 1) -> nn.Sequential:
    """Return a convolution and a norm that give x another shape."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def averaged_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the path of x around a block of ResNet-D: means over 2x2 pixels, then a 1x1 convolution of stride 1.

    He et al. 2018, "Bag of tricks for image classification with convolutional neural networks", arXiv:1812.01187,
    figure 2c. A 1x1 convolution of stride 2 never looks at three of four pixels. Where x keeps its shape, it goes as it
    is.
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    # Odd sides are rounded up, as the block's convolution rounds them.
    pool = nn.AvgPool2d(2, stride=2, ceil_mode=True) if stride > 1 else nn.Identity()
    return nn.Sequential(pool, *projection(in_channels, out_channels, stride=1))


def deep_stem(in_channels: int, widths: tuple[int, int, int]) -> nn.Sequential:
    """Return ResNet-C's three 3x3 convolutions, the first of stride 2, in place of one of 7x7 (ibid., figure 2b).

    Two of them end in a norm and a ReLU; those of the third are the caller's, as after the 7x7. Numbers are timm's.

    Shapes: `(N, in_channels, H, W)` to `(N, widths[2], ceil(H / 2), ceil(W / 2))`.
    """
    layers: list[nn.Module] = []
    for number, width in enumerate(widths):
        if number > 0:
            layers += [nn.BatchNorm2d(in_channels), nn.ReLU()]
        layers.append(nn.Conv2d(in_channels, width, 3, stride=2 if number == 0 else 1, padding=1, bias=False))
        in_channels = width
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """y = ReLU(F(x) + x) (equation 1 and figure 2); a subclass says what F is.

    Attributes:
        out_channels: of y.
        downsample: the path of x to the sum; None in a plain network, where y = ReLU(F(x)).
        survival: probability that an image's F takes part in training; where it does, it is divided by that
            (stochastic depth, "row" of `neocog.layers.drop`).
    """

    out_channels: int
    downsample: nn.Module | None
    survival: float = 1.0

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that F ends with."""
        raise NotImplementedError

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return y, or ReLU(F(x)) in a plain network."""
        if self.downsample is None:
            return F.relu(self.residual(x))
        if self.training and self.survival < 1:
            total = add_rows(self.downsample(x), self.residual(x), self.survival)
        else:
            total = self.residual(x) + self.downsample(x)
        return total.relu_()  # in place: the sum is no module's output


class BasicBlock(ResidualBlock):
    """F is two 3x3 convolutions (figure 5, left).

    Shapes: `(N, in_channels, H, W)` to `(N, width, ceil(H / stride), ceil(W / stride))`.

    Args:
        in_channels: of x.
        width: channels of both convolutions, and of y.
        stride: of the first one.
        downsample: the path of x to the sum, as `make_shortcut` returns it.
    """

    def __init__(self, in_channels: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.out_channels = width
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that F ends with."""
        return self.bn2

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.conv2(x)  # a line of its own, so that what came in is freed before the norm
        x = self.bn2(x)
        return x


class Bottleneck(ResidualBlock):
    """F is 1x1, 3x3 and 1x1 convolutions; the 3x3 sees fewer channels than come in and go out (figure 5, right).

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.

    Args:
        in_channels: of x.
        width: channels of the 3x3 convolution.
        out_channels: of y.
        stride: of the 3x3 convolution, or of the one before it.
        downsample: the path of x to the sum, as `make_shortcut` returns it.
        groups: of the 3x3 convolution.
        stride_in: which convolution has the stride.
        first_width: channels of the first 1x1 convolution; None for `width`.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        downsample: nn.Module | None,
        *,
        groups: int = 1,
        stride_in: Literal["1x1", "3x3"] = "3x3",
        first_width: int | None = None,
    ) -> None:
        super().__init__()
        stride1, stride2 = (stride, 1) if stride_in == "1x1" else (1, stride)
        first_width = width if first_width is None else first_width
        self.out_channels = out_channels
        self.conv1 = nn.Conv2d(in_channels, first_width, 1, stride1, bias=False)
        self.bn1 = nn.BatchNorm2d(first_width)
        self.conv2 = nn.Conv2d(first_width, width, 3, stride2, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that F ends with."""
        return self.bn3

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.conv2(x)  # lines of their own, so that what goes in is freed before the norm
        x = self.bn2(x)
        x = F.relu(x)
        x = self.conv3(x)
        x = self.bn3(x)
        return x
