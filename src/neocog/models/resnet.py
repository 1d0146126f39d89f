"""ResNet (He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385).

A deeper plain network has the higher *training* error (figure 1), though its extra layers need only copy their input.
So each block learns what to add to its input, y = F(x) + x (equation 1): to copy is F = 0, which is easily learnt,
and error falls with depth again, up to 152 layers on ImageNet and 110 on CIFAR-10.

Parameters are named as in timm and torchvision, whose files load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import Classifier, ModelConfig, linear_head

Shortcut = Literal["A", "B", "C", "none"]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(ModelConfig):
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
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...]
    width: int = 64
    stem: Literal["imagenet", "small"] = "imagenet"
    shortcut: Shortcut = "B"
    bottleneck_stride: Literal["1x1", "3x3"] = "3x3"
    zero_init_last: bool = True

    def __post_init__(self) -> None:
        """Refuse a network without blocks or filters."""
        super().__post_init__()
        check_stages(self.depths, self.width)


def check_stages(depths: tuple[int, ...], width: int) -> None:
    """Raise `UsageError` unless each of `depths` is a number of blocks, and `width` one of filters."""
    if not depths or min(depths) < 1:
        raise UsageError(f"depths are the blocks of each stage, at least 1 in each; not {depths}")
    if width < 1:
        raise UsageError(f"width is the number of filters in the first stage, at least 1; not {width}")


class PaddedIdentity(nn.Module):
    """Shortcut A: every `stride`-th pixel of x, then zeros for the channels that x lacks. It has no parameters.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.zero_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return x, subsampled and padded."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.zero_channels))


def make_shortcut(option: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Return the path of x around a block, or None in a plain network."""
    if option == "none":
        return None
    if option != "C" and stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return PaddedIdentity(in_channels, out_channels, stride)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class ResidualBlock(nn.Module):
    """y = ReLU(F(x) + x) (equation 1 and figure 2); a subclass says what F is, and so `expansion`."""

    expansion: ClassVar[int]
    downsample: nn.Module | None

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that F ends with."""
        raise NotImplementedError

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return y, or ReLU(F(x)) in a plain network."""
        if self.downsample is None:
            return F.relu(self.residual(x))
        total: Tensor = self.residual(x) + self.downsample(x)
        return total.relu_()  # in place: the sum is no module's output


class BasicBlock(ResidualBlock):
    """F is two 3x3 convolutions (figure 5, left).

    Shapes: `(N, in_channels, H, W)` to `(N, width, ceil(H / stride), ceil(W / stride))`.
    """

    expansion = 1

    def __init__(self, config: ResNetConfig, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = make_shortcut(config.shortcut, in_channels, width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that F ends with."""
        return self.bn2

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return x


class Bottleneck(ResidualBlock):
    """F is 1x1, 3x3 and 1x1 convolutions; the 3x3 sees a quarter of the channels (figure 5, right).

    Shapes: `(N, in_channels, H, W)` to `(N, 4 * width, ceil(H / stride), ceil(W / stride))`.
    """

    expansion = 4

    def __init__(self, config: ResNetConfig, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        stride1, stride2 = (stride, 1) if config.bottleneck_stride == "1x1" else (1, stride)
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = make_shortcut(config.shortcut, in_channels, out_channels, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that F ends with."""
        return self.bn3

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return x


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(Classifier):
    """A stem, stages of blocks, the mean over all positions, and a linear layer (table 1; section 4.2 for CIFAR).

    Every convolution is followed by batch normalisation (section 3.4), and so needs no bias.
    """

    config: ResNetConfig

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        self.conv1: nn.Conv2d
        self.maxpool: nn.Module
        if config.stem == "imagenet":
            self.conv1 = nn.Conv2d(config.in_chans, config.width, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(config.in_chans, config.width, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(config.width)

        block, channels = BLOCKS[config.block], config.width
        for stage, depth in enumerate(config.depths):
            width, blocks = config.width * 2**stage, []
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                blocks.append(block(config, channels, width, stride))
                channels = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.stage_names = tuple(f"layer{stage + 1}" for stage in range(len(config.depths)))

        self.num_features = channels
        self.fc = linear_head(channels, config.num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's output `(N, num_features, h, w)`: h is H / 32, or H / 4 in the networks for CIFAR."""
        # The ReLU stands before the pool in the authors' code. The two commute, and here it has a quarter of the work.
        x = F.relu(self.maxpool(self.bn1(self.conv1(x))))
        for stage in self.stage_names:
            x = self.get_submodule(stage)(x)
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the mean over positions `(N, num_features)`."""
        pooled = features.mean(dim=(2, 3))
        if pre_logits:
            return pooled
        logits: Tensor = self.fc(pooled)
        return logits

    def init_weights(self) -> None:
        """Initialise as He et al. 2015 (arXiv:1502.01852), which the paper cites in section 3.4.

        That paper finds the variances 2 / fan_in and 2 / fan_out equally good. This is the latter, as in the Torch
        code of 2016, timm and torchvision. It says nothing of the last layer, which here begins as torch's do.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()
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
