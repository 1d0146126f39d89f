"""Stochastic depth (Huang, Sun, Liu, Sedra, Weinberger 2016, "Deep networks with stochastic depth", arXiv:1603.09382).

A network that is short while it is trained and deep while it is used: for each mini-batch some residual blocks are left
out, the later the likelier (figure 2). Gradients have a shorter way back, an epoch takes a fifth to a quarter less
time, and what is tested is an ensemble of networks of every depth: ResNet-110's error on CIFAR-10 falls from 6.41 % to
5.25 %, and 1202 layers are better than 110 at last.

The network is the ResNet for CIFAR of arXiv:1512.03385; only its blocks differ. Parameters are named as in that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.drop import linear_decay, survives, with_zero_gradients
from neocog.layers.residual import BasicBlock
from neocog.models._residual import ResidualConfig, ResidualNetwork


@dataclass(frozen=True, kw_only=True)
class StochasticDepthConfig(ResidualConfig):
    """A ResNet of basic blocks, and how likely they survive (sections 3 and 4).

    Attributes:
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: filters of the first stage.
        stem: "small" is one 3x3 convolution of stride 1, for images of some 32 pixels; "imagenet" that of ResNet-18.
        last_survival: p_L, the probability with which the last block takes part in a step of training. From a first
            p_0 = 1, that of the input, it falls linearly with depth (equation 4). With 1 nothing is left out.
    """

    last_survival: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        super().__post_init__()
        if not 0 < self.last_survival <= 1:
            raise UsageError(f"last_survival is a probability above 0 and at most 1, not {self.last_survival}")


class AveragedIdentity(nn.Module):
    """The way around a block that halves the resolution: means over 2x2 pixels, then zeros for the new channels.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / 2), ceil(W / 2))`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.zero_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return x, averaged and padded."""
        # Odd sides are rounded up as the convolution rounds them; the paper's are even.
        x = F.avg_pool2d(x, 2, ceil_mode=True)
        return F.pad(x, (0, 0, 0, 0, 0, self.zero_channels))


class StochasticBlock(BasicBlock):
    """y = ReLU(b F(x) + x), b being 1 with probability p, else 0 (equations 1 and 2; figure 1 has F).

    With b = 0 nothing of F is computed. At test time y = ReLU(p F(x) + x) (equation 5).

    Shapes: `(N, in_channels, H, W)` to `(N, width, ceil(H / stride), ceil(W / stride))`.
    """

    downsample: nn.Module

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        changes = stride > 1 or in_channels != width
        super().__init__(in_channels, width, stride, AveragedIdentity(in_channels, width) if changes else nn.Identity())
        self.survival = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        around: Tensor = self.downsample(x)
        if not self.training:
            total = torch.add(around, self.residual(x), alpha=self.survival)
        elif survives(self.survival, x):
            total = around + self.residual(x)
        else:  # a ReLU would change nothing: x has been through one
            return with_zero_gradients(around, self.parameters())
        return total.relu_()  # in place: the sum is no module's output


class StochasticDepthNetwork(ResidualNetwork):
    """A ResNet some of whose blocks are left out at each step of training (figure 2).

    Each micro-batch of each process makes its own decisions, one for every block, as if it were the mini-batch. Blocks
    that were left out get gradients of zero, so that weight decay and momentum go on moving them, as in the authors'
    code, and so that several processes can add up gradients that only some of them have.
    """

    config: StochasticDepthConfig

    def __init__(self, config: StochasticDepthConfig) -> None:
        super().__init__(config)
        blocks = [module for module in self.modules() if isinstance(module, StochasticBlock)]
        for block, survival in zip(blocks, linear_decay(len(blocks), config.last_survival), strict=True):
            block.survival = survival

    @property
    def expected_blocks(self) -> float:
        """How many blocks take part in a step of training on average (section 3): of 54, (3 · 54 - 1) / 4 = 40.25."""
        return sum(module.survival for module in self.modules() if isinstance(module, StochasticBlock))

    def make_block(self, in_channels: int, width: int, stride: int) -> StochasticBlock:
        """Return a block, whose survival depends on how many there will be."""
        return StochasticBlock(in_channels, width, stride)


def cifar_config(layers: int) -> StochasticDepthConfig:
    """Return the network of 6n + 2 layers for CIFAR: three stages of n blocks with 16, 32 and 64 filters."""
    return StochasticDepthConfig(num_classes=10, depths=(layers // 6,) * 3, width=16, stem="small")


NETWORK = StochasticDepthNetwork
CONFIGS = {
    "resnet110_stochastic_depth": cifar_config(110),
    "resnet1202_stochastic_depth": cifar_config(1202),
}
