"""Attention over channels.

Hu, Shen, Albanie, Sun and Wu 2017, "Squeeze-and-excitation networks", arXiv:1709.01507.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError


class SqueezeExcite(nn.Module):
    """Weighs each channel by a gate s that depends on the means of all of them: x̃ = s · x (section 3, figure 1).

    Squeeze: z is each channel's mean over positions (equation 2). Excitation: s = σ(W₂ δ(W₁ z)), W₁ having fewer rows
    than columns (equation 3), δ being ReLU and σ the sigmoid. The two full layers are 1x1 convolutions with biases,
    named as in timm.

    Shapes: `(N, channels, H, W)` to the same.

    Args:
        channels: C.
        hidden: rows of W₁; C / 16 in the paper.
        activation: δ; later networks have others.
        gate: σ, likewise.

    Raises:
        UsageError: no channel, or no hidden one.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        activation: Callable[[Tensor], Tensor] = F.relu,
        gate: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        if channels < 1 or hidden < 1:
            raise UsageError(
                f"squeeze-and-excitation needs at least 1 channel and 1 hidden, not {channels} and {hidden}"
            )
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.activation, self.gate = activation, gate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with each channel weighed."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.gate(self.fc2(self.activation(self.fc1(means))))
