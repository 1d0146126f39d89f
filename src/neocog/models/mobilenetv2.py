"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov and Chen 2018, arXiv:1801.04381).

A residual block turned inside out. The shortcut joins *thin* maps; between them a 1x1 convolution widens six times,
so that the cheap depthwise 3x3 has room to work. The 1x1 that narrows again has no activation, because a ReLU would
destroy much of what a thin map holds (section 3.2). Hence the title's "inverted residuals and linear bottlenecks".

Parameters are named as in timm; `NAMES` says what torchvision calls them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Literal

from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.conv import Conv2dSame
from neocog.layers.norm import BatchNormReLU6
from neocog.models._classifier import ModelConfig, linear_head
from neocog.models._draw import draw_normal
from neocog.models._pooled import PooledClassifier

TABLE_2 = (
    # t: expansion, c: output channels, n: blocks, s: stride of the first of them
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_CHANNELS = 32
LAST_CHANNELS = 1280


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Config(ModelConfig):
    """Table 2, or a wider, narrower or deeper network.

    Attributes:
        width: multiplies every layer's channels (section 6.1), but the last convolution never has fewer than 1280.
        depth: multiplies the blocks of each row of table 2, rounded up. Not in the paper; timm's "d" variants.
        fixed_ends: keep the stem, the last convolution, and the number of blocks in the first and last row as they
            are at width and depth 1. Not in the paper; timm's "d" variants.
        dropout: share of the pooled features that training drops; 0.2 in the authors' code, unsaid in the paper.
        padding: "symmetric" is PyTorch's, one zero on each side; "same" is that of the authors' TensorFlow.
    """

    width: float = 1.0
    depth: float = 1.0
    fixed_ends: bool = False
    dropout: float = 0.2
    padding: Literal["symmetric", "same"] = "symmetric"

    def __post_init__(self) -> None:
        """Refuse multipliers that leave nothing, and shares that are none."""
        super().__post_init__()
        if self.width <= 0 or self.depth <= 0:
            raise UsageError(f"width and depth are factors above 0, not {self.width} and {self.depth}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")

    @property
    def stem_channels(self) -> int:
        """Output channels of the first convolution."""
        return STEM_CHANNELS if self.fixed_ends else scaled(STEM_CHANNELS, self.width)

    @property
    def last_channels(self) -> int:
        """Output channels of the last convolution."""
        return LAST_CHANNELS if self.fixed_ends else max(LAST_CHANNELS, scaled(LAST_CHANNELS, self.width))

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield table 2's (t, c, n, s) at this width and depth."""
        for row, (expansion, channels, blocks, stride) in enumerate(TABLE_2):
            kept = self.fixed_ends and row in (0, len(TABLE_2) - 1)
            yield expansion, scaled(channels, self.width), blocks if kept else ceil(blocks * self.depth), stride


def scaled(channels: int, width: float) -> int:
    """Return `channels * width` rounded to a multiple of 8, upwards where the nearest is over 10 % less.

    The paper says nothing of rounding; this is the authors' code.
    """
    product = channels * width
    nearest = max(8, int(product + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * product else nearest + 8


def depthwise(channels: int, stride: int, padding: str) -> nn.Conv2d:
    """Return a 3x3 convolution of each channel by itself (section 3.1)."""
    return conv3x3(channels, channels, stride, padding, groups=channels)


def conv3x3(in_channels: int, out_channels: int, stride: int, padding: str, groups: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that shrinks the map by its stride alone."""
    if padding == "same":
        return Conv2dSame(in_channels, out_channels, 3, stride, groups=groups, bias=False)
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)


def pointwise(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 1x1 convolution."""
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


class InvertedResidual(nn.Module):
    """The bottleneck residual block of table 1 and figure 4(d).

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`, by way of
    `expansion * in_channels` channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, padding: str) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.conv_pw = pointwise(in_channels, hidden)
        self.bn1 = BatchNormReLU6(hidden)
        self.conv_dw = depthwise(hidden, stride, padding)
        self.bn2 = BatchNormReLU6(hidden)
        self.conv_pwl = pointwise(hidden, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's thin output."""
        y: Tensor = self.bn1(self.conv_pw(x))
        y = self.conv_dw(y)  # a line of its own, so that the wide map that came in is freed before the norm
        y = self.bn2(y)
        y = self.conv_pwl(y)
        y = self.bn3(y)  # linear: no activation
        return x + y if self.has_shortcut else y


class DepthwiseSeparable(nn.Module):
    """The block where t = 1: there is nothing to widen, and the authors' code leaves the first 1x1 out.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, padding: str) -> None:
        super().__init__()
        self.conv_dw = depthwise(in_channels, stride, padding)
        self.bn1 = BatchNormReLU6(in_channels)
        self.conv_pw = pointwise(in_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's thin output."""
        y: Tensor = self.bn1(self.conv_dw(x))
        y = self.conv_pw(y)
        y = self.bn2(y)
        return x + y if self.has_shortcut else y


class MobileNetV2(PooledClassifier):
    """Table 2: a 3x3 convolution, seven rows of blocks, a 1x1 convolution, and the mean over positions."""

    head_name = "classifier"
    stem_name = "conv_stem"
    config: MobileNetV2Config

    def __init__(self, config: MobileNetV2Config) -> None:
        super().__init__(config)
        channels = config.stem_channels
        self.conv_stem = conv3x3(config.in_chans, channels, stride=2, padding=config.padding)
        self.bn1 = BatchNormReLU6(channels)
        self.blocks = nn.Sequential()
        for expansion, out_channels, blocks, stride in config.rows():
            self.blocks.append(make_row(channels, expansion, out_channels, blocks, stride, config.padding))
            channels = out_channels
        self.num_features = config.last_channels
        self.conv_head = pointwise(channels, self.num_features)
        self.bn2 = BatchNormReLU6(self.num_features)
        self.classifier = linear_head(self.num_features, config.num_classes)
        self.head_dropout = config.dropout
        self.stage_names = ("conv_stem", *(f"blocks.{row}" for row in range(len(TABLE_2))), "conv_head")

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last map, `(N, num_features, H / 32, W / 32)`."""
        x = self.bn1(self.conv_stem(x))
        x = self.blocks(x)
        features: Tensor = self.bn2(self.conv_head(x))
        return features

    def init_weights(self) -> None:
        """Initialise as the authors' code does (`training_scope` in tensorflow/models' slim/nets/mobilenet)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.09, a=-0.18, b=0.18)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        if isinstance(self.classifier, nn.Linear):
            self.init_head(self.classifier)

    def init_head(self, head: nn.Linear) -> None:
        """Start with nearly equal logits. Deviation: the authors draw the head as widely as the convolutions."""
        draw_normal(head, std=0.01)


def make_row(
    in_channels: int, expansion: int, out_channels: int, blocks: int, stride: int, padding: str
) -> nn.Sequential:
    """Return one row of table 2, whose first block alone has the stride."""
    row = nn.Sequential()
    for _ in range(blocks):
        if expansion == 1:
            row.append(DepthwiseSeparable(in_channels, out_channels, stride, padding))
        else:
            row.append(InvertedResidual(in_channels, out_channels, stride, expansion, padding))
        in_channels, stride = out_channels, 1
    return row


def torchvision_names(config: MobileNetV2Config) -> dict[str, str]:
    """Return {our module: torchvision's}, which numbers blocks through and nests layers by their place."""
    names = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
    block = 0
    for row, (expansion, _, blocks, _) in enumerate(config.rows()):
        if expansion == 1:
            places = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
        else:
            places = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"}
        for position in range(blocks):
            block += 1
            names |= {
                f"blocks.{row}.{position}.{layer}": f"features.{block}.conv.{place}" for layer, place in places.items()
            }
    last = f"features.{block + 1}"
    return names | {"conv_head": f"{last}.0", "bn2": f"{last}.1", "classifier": "classifier.1"}


NETWORK = MobileNetV2
NAMES = {"torchvision": torchvision_names}
CONFIGS = {
    "mobilenetv2_035": MobileNetV2Config(width=0.35),
    "mobilenetv2_050": MobileNetV2Config(width=0.5),
    "mobilenetv2_075": MobileNetV2Config(width=0.75),
    "mobilenetv2_100": MobileNetV2Config(),
    "mobilenetv2_110d": MobileNetV2Config(width=1.1, depth=1.2, fixed_ends=True),
    "mobilenetv2_120d": MobileNetV2Config(width=1.2, depth=1.4, fixed_ends=True),
    "mobilenetv2_130": MobileNetV2Config(width=1.3),
    "mobilenetv2_140": MobileNetV2Config(width=1.4),
}
