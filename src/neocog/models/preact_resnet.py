"""Pre-activation ResNet (He, Zhang, Ren and Sun 2016, "Identity mappings in deep residual networks", arXiv:1603.05027).

Where nothing alters the sum of a residual block, not even a ReLU, the features of any layer are those of any earlier
one plus a sum of residuals (equation 4), and gradients reach back as directly (equation 5). So norms and ReLUs move in
front of the convolutions, off the path of the sum, and then even 1001 layers train well on CIFAR-10.

The variants are called `resnetv2_*` and parameters named as in timm, whose files load as they are.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.layers.residual import PaddedIdentity, check_stages
from neocog.models._classifier import Classifier, ModelConfig


@dataclass(frozen=True, kw_only=True)
class PreActResNetConfig(ModelConfig):
    """The depths, widths and shortcuts of a ResNet, with the new block.

    Attributes:
        block: "basic" is two 3x3 convolutions; "bottleneck" is 1x1, 3x3 and 1x1, the last four times as wide.
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: filters of the first stage's 3x3 convolutions.
        stem: "imagenet" is a 7x7 convolution and a max pool, each of stride 2; "small" is one 3x3 convolution of
            stride 1, for images of some 32 pixels.
        shortcut: how x reaches the sum where its shape changes: "A" pads it with zeros, "B" projects it.
        bottleneck_stride: which of a bottleneck's convolutions halves the resolution: the first "1x1", as in the
            authors' code for CIFAR, or the "3x3", as in Facebook's Torch code for ImageNet and in timm.
        activate_stem: normalise and activate the stem's output for both paths of the first block, as the paper's
            appendix says, and not for its residual alone, as timm does. Where the first block projects x they agree.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...]
    width: int = 64
    stem: Literal["imagenet", "small"] = "imagenet"
    shortcut: Literal["A", "B"] = "B"
    bottleneck_stride: Literal["1x1", "3x3"] = "3x3"
    activate_stem: bool = False

    def __post_init__(self) -> None:
        """Refuse a network without blocks or filters."""
        super().__post_init__()
        check_stages(self.depths, self.width)


class PreActBlock(nn.Module):
    """y = x + F(ReLU(BN(x))) (figure 4(e)); a subclass says what F is, and so `expansion`.

    A shortcut that projects x takes it activated (appendix).
    """

    expansion: ClassVar[int]
    norm1: nn.BatchNorm2d

    def __init__(self, config: PreActResNetConfig, in_channels: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.activates_shortcut = first and config.activate_stem
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            if config.shortcut == "A":
                self.downsample = PaddedIdentity(in_channels, out_channels, stride)
            else:
                projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
                self.downsample = nn.Sequential(OrderedDict(conv=projection))
                self.activates_shortcut = True

    def residual(self, activated: Tensor) -> Tensor:
        """Return F of the activated input."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return y, which nothing normalises or activates."""
        activated = F.relu(self.norm1(x))
        shortcut: Tensor = self.downsample(activated if self.activates_shortcut else x)
        return shortcut + self.residual(activated)


class PreActBasicBlock(PreActBlock):
    """F is two 3x3 convolutions with a norm and a ReLU between them (figure 4(e)).

    Shapes: `(N, in_channels, H, W)` to `(N, width, ceil(H / stride), ceil(W / stride))`.
    """

    expansion = 1

    def __init__(self, config: PreActResNetConfig, in_channels: int, width: int, stride: int, first: bool) -> None:
        super().__init__(config, in_channels, width, stride, first)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def residual(self, activated: Tensor) -> Tensor:
        """Return F of the activated input."""
        x: Tensor = self.conv1(activated)
        x = self.conv2(F.relu(self.norm2(x)))
        return x


class PreActBottleneck(PreActBlock):
    """F is 1x1, 3x3 and 1x1 convolutions with a norm and a ReLU between them; the 3x3 sees a quarter of the channels.

    Shapes: `(N, in_channels, H, W)` to `(N, 4 * width, ceil(H / stride), ceil(W / stride))`.
    """

    expansion = 4

    def __init__(self, config: PreActResNetConfig, in_channels: int, width: int, stride: int, first: bool) -> None:
        super().__init__(config, in_channels, width, stride, first)
        stride1, stride2 = (stride, 1) if config.bottleneck_stride == "1x1" else (1, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)

    def residual(self, activated: Tensor) -> Tensor:
        """Return F of the activated input."""
        x: Tensor = self.conv1(activated)
        x = self.conv2(F.relu(self.norm2(x)))
        x = self.conv3(F.relu(self.norm3(x)))
        return x


BLOCKS: dict[str, type[PreActBlock]] = {"basic": PreActBasicBlock, "bottleneck": PreActBottleneck}


class PreActResNet(Classifier):
    """A stem without norm or activation, stages of blocks, a last norm and ReLU, the mean over positions, and logits.

    The norm and ReLU after the last block are the appendix's: no further block's would follow it.
    """

    head_name = "head.fc"
    stem_name = "stem.conv"
    config: PreActResNetConfig

    def __init__(self, config: PreActResNetConfig) -> None:
        super().__init__(config)
        self.stem = make_stem(config)
        block, channels = BLOCKS[config.block], config.width
        stages = nn.Sequential()
        for stage, depth in enumerate(config.depths):
            width, blocks = config.width * 2**stage, nn.Sequential()
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                blocks.append(block(config, channels, width, stride, first=stage == position == 0))
                channels = width * block.expansion
            stages.append(nn.Sequential(OrderedDict(blocks=blocks)))
        self.add_module("stages", stages)
        self.stage_names = tuple(f"stages.{stage}" for stage in range(len(config.depths)))

        self.num_features = channels
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Sequential(OrderedDict(fc=make_head(channels, config.num_classes)))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last map, activated: `(N, num_features, h, w)`, h being H / 32, or H / 4 in those for CIFAR."""
        x = self.get_submodule("stages")(self.stem(x))
        return F.relu(self.norm(x))

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the means over positions `(N, num_features)`."""
        pooled = features.mean(dim=(2, 3), keepdim=True)
        return (pooled if pre_logits else self.head(pooled)).flatten(1)

    def init_weights(self) -> None:
        """Initialise as the authors' code does: normal, with the variance 2 / fan_out; and the head as `init_head`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        self.init_head(self.get_submodule(self.head_name))

    def init_head(self, head: nn.Module) -> None:
        """Start with nearly equal logits, as timm does."""
        for name, parameter in head.named_parameters():
            if name == "weight":
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.zeros_(parameter)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a fresh one with `num_classes` logits; 0 removes it."""
        self.config = replace(self.config, num_classes=num_classes)
        head = make_head(self.num_features, num_classes)
        self.init_head(head)
        self.set_submodule(self.head_name, head.to(self.norm.weight))


def make_stem(config: PreActResNetConfig) -> nn.Sequential:
    """Return a convolution and perhaps a pool, whose output the first block normalises."""
    if config.stem == "small":
        return nn.Sequential(OrderedDict(conv=nn.Conv2d(config.in_chans, config.width, 3, padding=1, bias=False)))
    conv = nn.Conv2d(config.in_chans, config.width, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, pool=nn.MaxPool2d(3, stride=2, padding=1)))


def make_head(num_features: int, num_classes: int) -> nn.Conv2d | nn.Identity:
    """Return the layer that gives the logits; it is a 1x1 convolution because timm's is, so that weights fit."""
    return nn.Conv2d(num_features, num_classes, 1) if num_classes else nn.Identity()


def cifar_basic(layers: int) -> PreActResNetConfig:
    """Return a network of 6n + 2 layers: the CIFAR ResNet of the same depth with the new block (section 4)."""
    return PreActResNetConfig(
        block="basic",
        depths=(layers // 6,) * 3,
        width=16,
        stem="small",
        shortcut="A",
        activate_stem=True,
        num_classes=10,
    )


def cifar_bottleneck(layers: int) -> PreActResNetConfig:
    """Return a network of 9n + 2 layers: a bottleneck in place of each pair of 3x3 convolutions (section 4)."""
    return replace(
        cifar_basic(layers),
        block="bottleneck",
        depths=(layers // 9,) * 3,
        shortcut="B",  # appendix: projections, of the activated x
        bottleneck_stride="1x1",
    )


NETWORK = PreActResNet
CONFIGS = {
    # Table 3, on CIFAR.
    "resnetv2_110": cifar_basic(110),
    "resnetv2_164": cifar_bottleneck(164),
    "resnetv2_1001": cifar_bottleneck(1001),
    # Table 5, on ImageNet.
    "resnetv2_152": PreActResNetConfig(block="bottleneck", depths=(3, 8, 36, 3)),
    "resnetv2_200": PreActResNetConfig(block="bottleneck", depths=(3, 24, 36, 3)),
    # The other depths of table 1 of arXiv:1512.03385, which timm trains.
    "resnetv2_18": PreActResNetConfig(block="basic", depths=(2, 2, 2, 2)),
    "resnetv2_34": PreActResNetConfig(block="basic", depths=(3, 4, 6, 3)),
    "resnetv2_50": PreActResNetConfig(block="bottleneck", depths=(3, 4, 6, 3)),
    "resnetv2_101": PreActResNetConfig(block="bottleneck", depths=(3, 4, 23, 3)),
}
