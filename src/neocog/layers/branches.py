"""What Inception networks are made of: convolutions with their norm and ReLU, and branches side by side."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = int | tuple[int, int]


class ConvBnReLU(nn.Module):
    """A convolution without a bias, batch normalisation and ReLU.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H', W')`.

    Args:
        in_channels: channels of the input.
        out_channels: filters.
        kernel_size: odd, one number or one for each axis.
        stride: likewise.
        padding: "same" pads so that stride 1 keeps the size, as many zeros before as after; "valid" does not pad.
        eps: added to the variance; 0.001 in TensorFlow, where the Inception networks come from.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Literal["same", "valid"] = "same",
        *,
        eps: float = 1e-3,
    ) -> None:
        super().__init__()
        zeros = around(kernel_size) if padding == "same" else 0
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, zeros, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated maps."""
        return F.relu(self.bn(self.conv(x)))


class Concatenate(nn.Module):
    """Branches that see the same input, and whose maps are laid on top of each other in the order given.

        >>> module = Concatenate(branch1=nn.Conv2d(64, 16, 1), branch2=nn.MaxPool2d(3, stride=1, padding=1))
        >>> module(torch.zeros(1, 64, 8, 8)).shape
        torch.Size([1, 80, 8, 8])

    Shapes: `(N, C, H, W)` to `(N, channels of all branches, H', W')`.
    """

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches' maps."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


def around(kernel_size: Size) -> tuple[int, int]:
    """Return the zeros above and below, left and right, with which a convolution of stride 1 keeps the size."""
    height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return height // 2, width // 2
