"""ResNet (He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385).

A deeper plain network has the higher *training* error (figure 1), though its extra layers need only copy their input.
So each block learns what to add to its input, y = F(x) + x (equation 1): to copy is F = 0, which is easily learnt,
and error falls with depth again, up to 152 layers on ImageNet and 110 on CIFAR-10.

The blocks stand in `neocog.layers.residual`, and the network around them in `neocog.models._residual`, because later
papers use both. Parameters are named as in timm and torchvision, whose files load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from neocog.errors import UsageError
from neocog.layers.residual import BasicBlock, Bottleneck, ResidualBlock, Shortcut, make_shortcut
from neocog.models._residual import ResidualConfig, ResidualNetwork

EXPANSION = 4
"""How many times as wide a bottleneck's last convolution is (figure 5, right)."""


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(ResidualConfig):
    """One column of the paper's table 1, or one row of its table 6.

    Attributes:
        block: "basic" is two 3x3 convolutions; "bottleneck" is 1x1, 3x3 and 1x1, the last four times as wide.
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: filters of the first stage's 3x3 convolutions.
        stem: "imagenet" is a 7x7 convolution and a max pool, each of stride 2 (table 1); "small" is one 3x3
            convolution of stride 1 (section 4.2), for images of some 32 pixels.
        shortcut: how x reaches the sum where its shape changes (section 4.1): "A" pads it with zeros, "B" projects
            it, "C" projects it in every block. With "none" there is no sum, and the network is the plain one.
        bottleneck_stride: which of a bottleneck's convolutions halves the resolution: the first "1x1", as published,
            or the "3x3", as in timm and torchvision. The latter takes 6 % more multiply-adds in ResNet-50.
        zero_init_last: begin training at F = 0, with zero for the weight of each block's last norm (Goyal et al.
            2017, arXiv:1706.02677, section 5.1).
        stochastic_depth: probability with which training leaves the last block out for an image; from 0 for the first
            it grows in equal steps, as timm's `drop_path_rate` does (Wightman et al. 2021, table 2).
    """

    block: Literal["basic", "bottleneck"]
    shortcut: Shortcut = "B"
    bottleneck_stride: Literal["1x1", "3x3"] = "3x3"
    zero_init_last: bool = True
    stochastic_depth: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a probability that is none."""
        super().__post_init__()
        if not 0 <= self.stochastic_depth < 1:
            raise UsageError(f"stochastic_depth is a probability below 1, not {self.stochastic_depth}")
        if self.stochastic_depth and self.shortcut == "none":
            raise UsageError("stochastic_depth leaves a block's F out of its sum, and a plain network has no sums")


class ResNet(ResidualNetwork):
    """The residual network of table 1, for CIFAR that of section 4.2, and the plain ones beside them."""

    config: ResNetConfig

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        blocks = [module for module in self.modules() if isinstance(module, ResidualBlock)]
        for number, block in enumerate(blocks):
            block.survival = 1 - config.stochastic_depth * number / max(1, len(blocks) - 1)

    def make_block(self, in_channels: int, width: int, stride: int) -> ResidualBlock:
        """Return one of figure 5's two blocks."""
        config, out_channels = self.config, width * (EXPANSION if self.config.block == "bottleneck" else 1)
        around = make_shortcut(config.shortcut, in_channels, out_channels, stride)
        if config.block == "basic":
            return BasicBlock(in_channels, width, stride, around)
        return Bottleneck(in_channels, width, out_channels, stride, around, stride_in=config.bottleneck_stride)

    def init_weights(self) -> None:
        """Initialise as `ResidualNetwork` does, and with `zero_init_last` such that each block copies its input."""
        super().init_weights()
        if self.config.zero_init_last:
            for module in self.modules():
                if isinstance(module, ResidualBlock) and module.downsample is not None:
                    nn.init.zeros_(module.last_norm.weight)


def as_published(config: ResNetConfig) -> ResNetConfig:
    """Return `config` without what came later: the stride in the 3x3, and last norms that begin at zero."""
    return replace(config, bottleneck_stride="1x1", zero_init_last=False)


def cifar_config(layers: int, shortcut: Shortcut = "A") -> ResNetConfig:
    """Return section 4.2's network of 6n + 2 layers: three stages of n blocks with 16, 32 and 64 filters."""
    depths = (layers // 6,) * 3
    config = ResNetConfig(num_classes=10, block="basic", depths=depths, width=16, stem="small", shortcut=shortcut)
    return as_published(config)


RESNET_18 = ResNetConfig(block="basic", depths=(2, 2, 2, 2))
RESNET_34 = ResNetConfig(block="basic", depths=(3, 4, 6, 3))
RESNET_50 = ResNetConfig(block="bottleneck", depths=(3, 4, 6, 3))
RESNET_101 = ResNetConfig(block="bottleneck", depths=(3, 4, 23, 3))
RESNET_152 = ResNetConfig(block="bottleneck", depths=(3, 8, 36, 3))

NETWORK = ResNet
CONFIGS = {
    # Table 1, as timm and torchvision have it.
    "resnet18": RESNET_18,
    "resnet34": RESNET_34,
    "resnet50": RESNET_50,
    "resnet101": RESNET_101,
    "resnet152": RESNET_152,
    # Table 1, as published.
    "resnet50_v1": as_published(RESNET_50),
    "resnet101_v1": as_published(RESNET_101),
    "resnet152_v1": as_published(RESNET_152),
    # The same network at depths that others added: timm, and table 5 of He et al. 2016 (arXiv:1603.05027).
    "resnet26": ResNetConfig(block="bottleneck", depths=(2, 2, 2, 2)),
    "resnet200": ResNetConfig(block="bottleneck", depths=(3, 24, 36, 3)),
    # Table 2.
    "plain18": replace(as_published(RESNET_18), shortcut="none"),
    "plain34": replace(as_published(RESNET_34), shortcut="none"),
    # Table 6 and figure 6, on CIFAR-10.
    "resnet20": cifar_config(20),
    "resnet32": cifar_config(32),
    "resnet44": cifar_config(44),
    "resnet56": cifar_config(56),
    "resnet110": cifar_config(110),
    "resnet1202": cifar_config(1202),
    "plain20": cifar_config(20, shortcut="none"),
    "plain32": cifar_config(32, shortcut="none"),
    "plain44": cifar_config(44, shortcut="none"),
    "plain56": cifar_config(56, shortcut="none"),
}
