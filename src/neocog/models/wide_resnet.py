"""Wide ResNet (Zagoruyko and Komodakis 2016, "Wide residual networks", arXiv:1605.07146).

Making a residual network a thousand layers deep gains little, since hardly a block has to learn anything. This one has
fewer blocks, with k times as many channels: with 16 layers it is as accurate as a thin one of a thousand, has as many
parameters, and is trained several times faster.

WRN-n-k on CIFAR has n layers of pre-activation blocks, and parameters named as in the authors' PyTorch code. On
ImageNet the paper widens the bottlenecks of a ResNet; these are named as in timm and torchvision.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.residual import Bottleneck, make_shortcut
from neocog.models._classifier import ModelConfig, linear_head
from neocog.models._pooled import PooledClassifier
from neocog.models._residual import ResidualConfig, ResidualNetwork

GROUP_WIDTHS = (16, 32, 64)
"""Table 1: channels of conv2, conv3 and conv4 at k = 1. The first convolution has 16 at any k."""


@dataclass(frozen=True, kw_only=True)
class WideResNetConfig(ModelConfig):
    """WRN-n-k (table 1).

    Attributes:
        depth: n, the layers: 6 N + 4 for N blocks in each of the three groups.
        widening: k, by which the channels of every block are multiplied.
        dropout: share of the values between a block's two convolutions that training drops (section 2.4); the paper
            has 0.3 on CIFAR where it has any.
    """

    depth: int
    widening: int
    num_classes: int = 10
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse depths and widths that no such network has."""
        super().__post_init__()
        if self.depth < 10 or (self.depth - 4) % 6:
            raise UsageError(f"depth is 6 N + 4 for N blocks in a group, at least 10; not {self.depth}")
        if self.widening < 1:
            raise UsageError(f"widening multiplies the channels, by at least 1; not {self.widening}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after a norm and a ReLU, with dropout between them (figure 1(d)).

    Shapes: `(N, in_channels, H, W)` to `(N, channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.bn0 = nn.BatchNorm2d(in_channels)
        self.conv0 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.convdim: nn.Conv2d | None = None
        if in_channels != channels:  # as wherever the stride is 2
            self.convdim = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, which nothing normalises or activates."""
        activated = F.relu(self.bn0(x))
        y = self.conv0(activated)
        around: Tensor = x if self.convdim is None else self.convdim(activated)
        del activated  # which nobody else needs in evaluation: freed before the norm
        y = F.relu(self.bn1(y))
        y = self.conv1(F.dropout(y, self.dropout, self.training))
        total: Tensor = around + y
        return total


class WideResNet(PooledClassifier):
    """Table 1: a 3x3 convolution, three groups of N blocks, a last norm and ReLU, the mean over positions, logits."""

    stem_name = "conv0"
    stage_names = ("group0", "group1", "group2")
    config: WideResNetConfig

    def __init__(self, config: WideResNetConfig) -> None:
        super().__init__(config)
        blocks, channels = (config.depth - 4) // 6, GROUP_WIDTHS[0]
        self.conv0 = nn.Conv2d(config.in_chans, channels, 3, padding=1, bias=False)
        for group, width in enumerate(GROUP_WIDTHS):
            made: OrderedDict[str, nn.Module] = OrderedDict()
            for number in range(blocks):
                stride = 2 if group > 0 and number == 0 else 1
                made[f"block{number}"] = WideBlock(channels, width * config.widening, stride, config.dropout)
                channels = width * config.widening
            self.add_module(f"group{group}", nn.Sequential(made))
        self.bn = nn.BatchNorm2d(channels)
        self.num_features = channels
        self.fc = linear_head(channels, config.num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last map, activated: `(N, 64 k, H / 4, W / 4)`."""
        x = self.conv0(x)
        for group in self.stage_names:
            x = self.get_submodule(group)(x)
        return F.relu(self.bn(x))

    def init_weights(self) -> None:
        """Initialise as the authors' code does: normal, with the variance 2 / fan_out; and the head as `init_head`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()
        if isinstance(self.fc, nn.Linear):
            self.init_head(self.fc)

    def init_head(self, head: nn.Linear) -> None:
        """Begin with biases of zero, as the authors' code does."""
        nn.init.zeros_(head.bias)


@dataclass(frozen=True, kw_only=True)
class WideBottleneckConfig(ResidualConfig):
    """A ResNet of bottlenecks whose 3x3 convolutions are wider (section 3, ImageNet; table 8).

    Attributes:
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: channels of the stem; a quarter of what the first stage gives.
        stem: "imagenet" is a 7x7 convolution and a max pool, each of stride 2; "small" is one 3x3 convolution of
            stride 1, for images of some 32 pixels.
        widening: by which the channels within the bottlenecks are multiplied; what goes in and out of them stays.
    """

    widening: int = 2

    def __post_init__(self) -> None:
        """Refuse widths that leave nothing."""
        super().__post_init__()
        if self.widening < 1:
            raise UsageError(f"widening multiplies the channels, by at least 1; not {self.widening}")


class WideBottleneckResNet(ResidualNetwork):
    """WRN-50-2-bottleneck and its like (table 8): the network around the blocks is a ResNet's."""

    config: WideBottleneckConfig

    def make_block(self, in_channels: int, width: int, stride: int) -> Bottleneck:
        """Return a bottleneck, its 3x3 convolution widened; the stride is there, as in Facebook's code of 2016."""
        around = make_shortcut("B", in_channels, 4 * width, stride)
        return Bottleneck(in_channels, self.config.widening * width, 4 * width, stride, around)

    def init_head(self, head: nn.Linear) -> None:
        """Begin with biases of zero, as the authors' code does."""
        nn.init.zeros_(head.bias)


def make_network(config: WideResNetConfig | WideBottleneckConfig) -> WideResNet | WideBottleneckResNet:
    """Return the paper's network for CIFAR or that for ImageNet, as `config` asks."""
    return WideResNet(config) if isinstance(config, WideResNetConfig) else WideBottleneckResNet(config)


NETWORK = make_network
CONFIGS: dict[str, WideResNetConfig | WideBottleneckConfig] = {
    # Tables 4 and 5, on CIFAR-10.
    "wide_resnet16_8": WideResNetConfig(depth=16, widening=8),
    "wide_resnet28_10": WideResNetConfig(depth=28, widening=10),
    "wide_resnet40_4": WideResNetConfig(depth=40, widening=4),
    # Table 8; the deeper one is torchvision's.
    "wide_resnet50_2": WideBottleneckConfig(depths=(3, 4, 6, 3)),
    "wide_resnet101_2": WideBottleneckConfig(depths=(3, 4, 23, 3)),
}
