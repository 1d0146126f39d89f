"""SENet (Hu, Shen, Albanie, Sun and Wu 2017, "Squeeze-and-excitation networks", arXiv:1709.01507).

A convolution adds up all channels alike. Here each block ends in a small side path that looks at every channel's mean
over the whole image and says how much each is worth for it. It costs 10 % more parameters, hardly any time, can be put
into any network, and won the last ImageNet challenge (ILSVRC 2017).

Three kinds: SE-ResNet as published (`_v1`); SE-ResNet and SE-ResNeXt as timm trains them, with timm's names; and
SENet-154, the winner. For the published ones timm has names of their own. `NAMES` gives them, so that all files load.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.residual import Bottleneck, make_shortcut, projection
from neocog.layers.squeeze_excite import SqueezeExcite
from neocog.models._residual import ResidualConfig, ResidualNetwork

EXPANSION = 4
"""Output channels of a bottleneck over the width of its stage."""


@dataclass(frozen=True, kw_only=True)
class SENetConfig(ResidualConfig):
    """A ResNet or ResNeXt of bottlenecks (table 1), and how its channels are weighed.

    Attributes:
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: channels of a ResNet's stem; a quarter of what the first stage gives.
        stem: "imagenet" is a 7x7 convolution of stride 2, three of 3x3 in SENet-154, and a max pool of stride 2;
            "small" is one 3x3 convolution of stride 1, for images of some 32 pixels.
        cardinality: groups of the 3x3 convolutions; 1 in a ResNet.
        group_width: channels of each group in the first stage; 64 in a ResNet.
        reduction: r, by which the side path divides the channels (section 6.1).
        form: "plain" for a ResNet or a ResNeXt; "modified" for SENet-154's changes (appendix): half the channels in
            each first 1x1 convolution, three 3x3 convolutions for a stem, and 3x3 convolutions in the shortcuts that
            halve the resolution.
        bottleneck_stride: which of a bottleneck's convolutions halves the resolution: the first "1x1", as in the
            published SE-ResNets, or the "3x3", as in the ResNeXts, SENet-154 and timm.
        pool: the stem's max pool begins at the border and rounds its size up ("ceil"), as Caffe does it and so the
            published networks; or it is padded by 1 ("padded").
        dropout: share of the pooled features that training drops; 0.2 in SENet-154.
    """

    cardinality: int = 1
    group_width: int = 64
    reduction: int = 16
    form: Literal["plain", "modified"] = "plain"
    bottleneck_stride: Literal["1x1", "3x3"] = "3x3"
    pool: Literal["ceil", "padded"] = "padded"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse blocks without channels, side paths without any, and shares that are none."""
        super().__post_init__()
        if self.cardinality < 1 or self.group_width < 1:
            raise UsageError(
                f"cardinality and group_width are at least 1, not {self.cardinality} and {self.group_width}"
            )
        if not 1 <= self.reduction <= EXPANSION * self.width:
            raise UsageError(
                f"reduction divides the {EXPANSION * self.width} channels of the first stage: it is from 1 to that, "
                f"not {self.reduction}"
            )
        if self.form == "modified" and self.group_width % 2:
            raise UsageError(
                f"half of {self.cardinality} x {self.group_width} channels cannot be divided into "
                f"{self.cardinality} groups"
            )
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")


class SEBottleneck(Bottleneck):
    """A bottleneck whose F is weighed channel by channel before the sum (figure 3).

    Shapes: `(N, in_channels, H, W)` to `(N, 4 * width, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, config: SENetConfig, in_channels: int, width: int, stride: int) -> None:
        modified, out_channels = config.form == "modified", EXPANSION * width
        inner = config.cardinality * config.group_width * (width // config.width)
        around = make_shortcut("B", in_channels, out_channels, stride)
        if modified and stride > 1:
            around = projection(in_channels, out_channels, stride, kernel_size=3)
        super().__init__(
            in_channels,
            inner,
            out_channels,
            stride,
            around,
            groups=config.cardinality,
            stride_in=config.bottleneck_stride,
            first_width=inner // 2 if modified else None,
        )
        self.se = SqueezeExcite(out_channels, out_channels // config.reduction)

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x), weighed."""
        x = self.se(super().residual(x))
        return x


class SENet(ResidualNetwork):
    """A stem, stages of weighed bottlenecks, the mean over positions, and a linear layer (table 1)."""

    config: SENetConfig

    def __init__(self, config: SENetConfig) -> None:
        super().__init__(config)
        self.head_dropout = config.dropout

    def make_block(self, in_channels: int, width: int, stride: int) -> SEBottleneck:
        """Return a bottleneck of that stage."""
        return SEBottleneck(self.config, in_channels, width, stride)

    def add_stem(self) -> int:
        """Make a ResNet's stem or SENet-154's, which gives twice as many channels."""
        config, channels = self.config, super().add_stem()
        if config.stem == "small":
            return channels
        if config.pool == "ceil":
            self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
            self.min_size = (3, 3)
        if config.form == "modified":
            self.conv1 = nn.Conv2d(config.in_chans, channels, 3, stride=2, padding=1, bias=False)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.conv3 = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)
            self.bn3 = nn.BatchNorm2d(2 * channels)
            return 2 * channels
        return channels

    def forward_stem(self, x: Tensor) -> Tensor:
        """Return what the first stage is given."""
        if self.config.form == "plain" or self.config.stem == "small":
            return super().forward_stem(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.conv2(x)  # lines of their own, so that what goes in is freed before the norm
        x = self.bn2(x)
        x = F.relu(x)
        x = self.conv3(x)
        x = self.bn3(x)
        x = self.maxpool(x)  # before the ReLU, which then has a quarter of the work
        return F.relu(x)


def timm_names(config: SENetConfig) -> dict[str, str]:
    """Return {our module: timm's} for the published forms, which timm keeps in a file of its own, with other names."""
    if config.pool == "padded":
        return {}
    names = {layer: f"layer0.{layer}" for layer in ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")}
    for stage, depth in enumerate(config.depths, start=1):
        names |= {f"layer{stage}.{block}.se": f"layer{stage}.{block}.se_module" for block in range(depth)}
    return names | {"fc": "last_linear"}


SE_RESNET_50 = SENetConfig(depths=(3, 4, 6, 3))
SE_RESNET_101 = SENetConfig(depths=(3, 4, 23, 3))
SE_RESNET_152 = SENetConfig(depths=(3, 8, 36, 3))


def as_published(config: SENetConfig) -> SENetConfig:
    """Return `config` with the stride of the authors' Caffe networks, and Caffe's pool."""
    return replace(config, bottleneck_stride="1x1", pool="ceil")


NETWORK = SENet
NAMES = {"timm": timm_names}
CONFIGS = {
    # Table 2, as published.
    "seresnet50_v1": as_published(SE_RESNET_50),
    "seresnet101_v1": as_published(SE_RESNET_101),
    "seresnet152_v1": as_published(SE_RESNET_152),
    # Table 2, as timm has them.
    "seresnet50": SE_RESNET_50,
    "seresnet101": SE_RESNET_101,
    "seresnet152": SE_RESNET_152,
    "seresnext50_32x4d": replace(SE_RESNET_50, cardinality=32, group_width=4),
    "seresnext101_32x4d": replace(SE_RESNET_101, cardinality=32, group_width=4),
    # The winner of ILSVRC 2017: a ResNeXt-152 of 64x4d, modified.
    "senet154": replace(SE_RESNET_152, cardinality=64, group_width=4, form="modified", pool="ceil", dropout=0.2),
}
