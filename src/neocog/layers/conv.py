"""Convolutions that torch does not have."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
