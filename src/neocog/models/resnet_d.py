"""ResNet-C and ResNet-D (He et al. 2018, "Bag of tricks for image classification with convolutional neural networks").

Tong He, Zhang, Zhang, Zhang, Xie and Li, arXiv:1812.01187, section 4 and figure 2: three small changes to ResNet-50
raise its accuracy by 0.95 points for 13 % more multiply-adds. B moves the stride of a bottleneck into its 3x3, so that
the first 1x1 does not throw away three of four pixels; C replaces the 7x7 of the stem by three 3x3; D averages 2x2
pixels in the shortcuts that halve the resolution, where a 1x1 of stride 2 would again see but one of them.

Each includes those before it. B alone is `resnet50` as timm, torchvision and `neocog.models.resnet` have it, so that no
variant of it stands here. Two later stems do: S is GluonCV's, twice as wide, and T is timm's, tiered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from neocog.errors import UsageError
from neocog.layers.residual import (
    BasicBlock,
    Bottleneck,
    ResidualBlock,
    averaged_shortcut,
    deep_stem,
    make_shortcut,
)
from neocog.models._residual import ResidualConfig, ResidualNetwork

EXPANSION = 4
"""How many times as wide a bottleneck's last convolution is."""


@dataclass(frozen=True, kw_only=True)
class ResNetDConfig(ResidualConfig):
    """One row of the paper's table 5, or the same changes at another depth.

    Attributes:
        block: "basic" is two 3x3 convolutions; "bottleneck" is 1x1, 3x3 and 1x1, the last four times as wide.
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: filters of the first stage's 3x3 convolutions, and of the small stem.
        stem: "imagenet" is three 3x3 convolutions and a max pool (figure 2b); "small" is one 3x3 convolution of stride
            1, for images of some 32 pixels.
        stem_widths: filters of the three convolutions.
        shortcut: where the resolution halves, "projected" is a 1x1 convolution of stride 2 (ResNet-C), "averaged" are
            means over 2x2 pixels before one of stride 1 (ResNet-D, figure 2c).
    """

    block: Literal["basic", "bottleneck"] = "bottleneck"
    stem_widths: tuple[int, int, int] = (32, 32, 64)
    shortcut: Literal["projected", "averaged"] = "averaged"

    def __post_init__(self) -> None:
        """Refuse a stem without filters."""
        super().__post_init__()
        if len(self.stem_widths) != 3 or min(self.stem_widths) < 1:
            raise UsageError(
                f"stem_widths are the filters of three convolutions, at least 1 each; not {self.stem_widths}"
            )


class ResNetD(ResidualNetwork):
    """A ResNet whose stem is deep, whose bottlenecks stride in their 3x3, and whose shortcuts average (figure 2)."""

    config: ResNetDConfig

    def make_block(self, in_channels: int, width: int, stride: int) -> ResidualBlock:
        """Return a block of that stage, with the stride in its 3x3 (figure 2a)."""
        config, out_channels = self.config, width * (EXPANSION if self.config.block == "bottleneck" else 1)
        if config.shortcut == "averaged":
            around: nn.Module | None = averaged_shortcut(in_channels, out_channels, stride)
        else:
            around = make_shortcut("B", in_channels, out_channels, stride)
        if config.block == "basic":
            return BasicBlock(in_channels, width, stride, around)
        return Bottleneck(in_channels, width, out_channels, stride, around)

    def add_stem(self) -> int:
        """Make the layers before the first stage, and return how many channels they give."""
        config, channels = self.config, super().add_stem()
        if config.stem == "small":
            return channels
        channels = config.stem_widths[-1]
        self.conv1, self.bn1 = deep_stem(config.in_chans, config.stem_widths), nn.BatchNorm2d(channels)
        self.stem_name = "conv1.0"
        return channels

    def init_weights(self) -> None:
        """Initialise as `ResidualNetwork` does, but each block's last norm at zero, so that it copies (section 3.1).

        Deviation: the paper draws weights by Glorot and Bengio 2010 (section 2.1); here and in timm they are drawn as
        in every other ResNet.
        """
        super().init_weights()
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.last_norm.weight)


def as_c(config: ResNetDConfig) -> ResNetDConfig:
    """Return `config` as ResNet-C, without the averages."""
    return replace(config, shortcut="projected")


def as_s(config: ResNetDConfig) -> ResNetDConfig:
    """Return `config` as GluonCV's ResNet-S: C with a stem twice as wide."""
    return replace(as_c(config), stem_widths=(64, 64, 128))


def as_t(config: ResNetDConfig) -> ResNetDConfig:
    """Return `config` as timm's ResNet-T: D with a stem that begins narrower."""
    return replace(config, stem_widths=(24, 32, 64))


RESNET_50 = ResNetDConfig(depths=(3, 4, 6, 3))
RESNET_101 = ResNetDConfig(depths=(3, 4, 23, 3))
RESNET_152 = ResNetDConfig(depths=(3, 8, 36, 3))

NETWORK = ResNetD
CONFIGS = {
    # Table 5.
    "resnet50c": as_c(RESNET_50),
    "resnet50d": RESNET_50,
    # The same changes at depths of others: GluonCV, and timm.
    "resnet101c": as_c(RESNET_101),
    "resnet152c": as_c(RESNET_152),
    "resnet18d": ResNetDConfig(block="basic", depths=(2, 2, 2, 2)),
    "resnet26d": ResNetDConfig(depths=(2, 2, 2, 2)),
    "resnet34d": ResNetDConfig(block="basic", depths=(3, 4, 6, 3)),
    "resnet101d": RESNET_101,
    "resnet152d": RESNET_152,
    "resnet200d": ResNetDConfig(depths=(3, 24, 36, 3)),
    # Other stems.
    "resnet50s": as_s(RESNET_50),
    "resnet101s": as_s(RESNET_101),
    "resnet152s": as_s(RESNET_152),
    "resnet10t": as_t(ResNetDConfig(block="basic", depths=(1, 1, 1, 1))),
    "resnet14t": as_t(ResNetDConfig(depths=(1, 1, 1, 1))),
    "resnet26t": as_t(ResNetDConfig(depths=(2, 2, 2, 2))),
    "resnet50t": as_t(RESNET_50),
}
