"""ResNet-RS (Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579).

The accuracy of a network is also that of its training. An old ResNet-200, trained as networks of 2021 are, gains 3.2
points on ImageNet, and 1.2 more with two old changes, squeeze-and-excitation and ResNet-D (table 1). Scaled by depth
where an image would be seen too often and slowly by resolution, it is as accurate as EfficientNets that train slower.

What of table 1 stands in the network is a field here, so that `resnetrs200` with all of it off is the ResNet-200 that
the table begins with; the rest is the recipe's. The paper has no network for small images: `resnetrs_cifar` is the
ResNet-20 of He et al. 2015, section 4.2, with the same fields.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.drop import linear_decay
from neocog.layers.residual import (
    BasicBlock,
    Bottleneck,
    ResidualBlock,
    averaged_shortcut,
    deep_stem,
    make_shortcut,
)
from neocog.layers.squeeze_excite import SqueezeExcite
from neocog.models._residual import ResidualConfig, ResidualNetwork

EXPANSION = 4
"""How many times as wide a bottleneck's last convolution is."""
SQUEEZE = 4
"""By how much squeeze-and-excitation divides the channels: the paper's ratio is 0.25."""
TRUNCATED = 0.87962566103423978
"""Standard deviation of a unit normal distribution that is cut off at two of them."""


@dataclass(frozen=True, kw_only=True)
class ResNetRSConfig(ResidualConfig):
    """One of the family's networks; the last four fields are steps of table 1.

    Attributes:
        block: "bottleneck" is 1x1, 3x3 and 1x1 with the stride in the 3x3, "basic" two 3x3, which the paper has not.
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: filters of the stem and of the first stage's 3x3 convolutions.
        stem: "imagenet" divides the resolution by 4: a 7x7 convolution and a max pool, or with `resnet_d` three 3x3 and
            one more of stride 2; "small" is one 3x3 convolution of stride 1, for images of some 32 pixels.
        squeeze_excite: whether each block's channels are weighed before the sum.
        resnet_d: whether the stem is the deep one, and the shortcuts average before they project.
        stochastic_depth: the rate at which training leaves out each block of the last stage, image by image. In the
            stages before it is linearly less, counting the stem as one of them.
        dropout: share of the pooled features that training leaves out.
    """

    block: Literal["basic", "bottleneck"] = "bottleneck"
    squeeze_excite: bool = True
    resnet_d: bool = True
    stochastic_depth: float = 0.0
    dropout: float = 0.25

    def __post_init__(self) -> None:
        """Refuse shares that are none, and a stem that cannot be divided."""
        super().__post_init__()
        for name in ("stochastic_depth", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is a share of at least 0 and below 1, not {getattr(self, name)}")
        if self.resnet_d and self.stem == "imagenet" and self.width < 2:
            raise UsageError(f"ResNet-D's stem begins with half of width, which is at least 2; not {self.width}")


class RSBlock(ResidualBlock):
    """y = ReLU(b s F(x) + x): s weighs the channels, and b, `survival`'s, leaves F out for some images while training.

    Attributes:
        se: s, or None.
    """

    se: SqueezeExcite | None

    def add_gate(self, wanted: bool) -> None:
        """Make s; without it the block is a ResNet's. The authors squeeze to a quarter, and to no less than one."""
        self.se = SqueezeExcite(self.out_channels, max(1, self.out_channels // SQUEEZE)) if wanted else None

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x), weighed."""
        x = super().residual(x)
        return x if self.se is None else self.se(x)


class RSBasicBlock(RSBlock, BasicBlock):
    """F is two 3x3 convolutions.

    Shapes: `(N, in_channels, H, W)` to `(N, width, ceil(H / stride), ceil(W / stride))`.
    """


class RSBottleneck(RSBlock, Bottleneck):
    """F is 1x1, 3x3 and 1x1 convolutions.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """


class ResNetRS(ResidualNetwork):
    """A ResNet with what table 1 adds to it, each addition a field of the config."""

    config: ResNetRSConfig

    def __init__(self, config: ResNetRSConfig) -> None:
        super().__init__(config)
        # As in the authors' code, rates rise from group to group; timm's rise from block to block.
        survivals = linear_decay(1 + len(config.depths), 1 - config.stochastic_depth)[1:]
        for stage, survival in zip(self.stage_names, survivals, strict=True):
            for module in self.get_submodule(stage).children():
                if isinstance(module, RSBlock):
                    module.survival = survival

    def make_block(self, in_channels: int, width: int, stride: int) -> RSBlock:
        """Return a block of that stage."""
        config, out_channels = self.config, width * (EXPANSION if self.config.block == "bottleneck" else 1)
        if config.resnet_d:
            around: nn.Module | None = averaged_shortcut(in_channels, out_channels, stride)
        else:
            around = make_shortcut("B", in_channels, out_channels, stride)
        block: RSBlock
        if config.block == "basic":
            block = RSBasicBlock(in_channels, width, stride, around)
        else:
            block = RSBottleneck(in_channels, width, out_channels, stride, around)
        block.add_gate(config.squeeze_excite)
        return block

    def add_stem(self) -> int:
        """Make the layers before the first stage, and return how many channels they give.

        The paper describes ResNet-D without a max pool, the first block having its stride (section 4.1). The authors'
        networks and timm's have a convolution of stride 2 in its place, and so does this.
        """
        config, channels = self.config, super().add_stem()
        if config.resnet_d and config.stem == "imagenet":
            self.conv1 = deep_stem(config.in_chans, (channels // 2, channels // 2, channels))
            self.maxpool = nn.Sequential(  # the name stays, as in timm
                nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
            )
            self.stem_name = "conv1.0"
        return channels

    def forward_stem(self, x: Tensor) -> Tensor:
        """Return what the first stage is given."""
        if not isinstance(self.maxpool, nn.Sequential):
            return super().forward_stem(x)
        x = self.conv1(x)  # lines of their own, so that what goes in is freed before the norm
        x = self.bn1(x)
        x = F.relu(x)
        x = self.maxpool(x)
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the mean over positions `(N, num_features)`."""
        pooled = super().forward_head(features, pre_logits=True)
        if pre_logits:
            return pooled
        logits: Tensor = self.fc(F.dropout(pooled, self.config.dropout, self.training))
        return logits

    def init_weights(self) -> None:
        """Initialise as the authors' code does.

        Convolutions are drawn with variance 1 / fan_in from a normal distribution that is cut off at two standard
        deviations, and each block's last norm begins at zero, so that the block copies its input.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                std = module.weight[0].numel() ** -0.5 / TRUNCATED
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        for module in self.modules():
            if isinstance(module, RSBlock):
                nn.init.zeros_(module.last_norm.weight)
        if isinstance(self.fc, nn.Linear):
            self.init_head(self.fc)

    def init_head(self, head: nn.Linear) -> None:
        """Draw the head with a standard deviation of 0.01, as the authors' code does, and set its bias to zero."""
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)


RS_50 = ResNetRSConfig(depths=(3, 4, 6, 3))
RS_200 = ResNetRSConfig(depths=(3, 24, 36, 3), stochastic_depth=0.1)

NETWORK = ResNetRS
CONFIGS = {
    # Depths, rates and shares of the authors' configs/resnetrs*_i*.yaml.
    "resnetrs50": RS_50,
    "resnetrs101": replace(RS_50, depths=(3, 4, 23, 3)),
    "resnetrs152": replace(RS_50, depths=(3, 8, 36, 3)),
    "resnetrs200": RS_200,
    "resnetrs270": replace(RS_200, depths=(4, 29, 53, 4)),
    "resnetrs350": replace(RS_200, depths=(4, 36, 72, 4)),  # for 320 pixels they drop 0.4 of the features
    "resnetrs420": replace(RS_200, depths=(4, 44, 87, 4), dropout=0.4),
    # Not of the paper.
    "resnetrs_cifar": replace(RS_200, num_classes=10, block="basic", depths=(3, 3, 3), width=16, stem="small"),
}
