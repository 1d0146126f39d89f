"""What residual networks have in common around their blocks: the stem, the stages and the head.

Table 1 of He, Zhang, Ren and Sun 2015, arXiv:1512.03385, and for small images its section 4.2. The papers that followed
changed the block and left this as it was, so that it stands here once; a family's file says which blocks it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.layers.residual import ResidualBlock, check_stages
from neocog.models._classifier import ModelConfig, linear_head
from neocog.models._pooled import PooledClassifier


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(ModelConfig):
    """One column of table 1, or one row of table 6; a family adds what its blocks differ in.

    Attributes:
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: filters of the stem, and of the first stage's 3x3 convolutions in a ResNet.
        stem: "imagenet" is a 7x7 convolution and a max pool, each of stride 2 (table 1); "small" is one 3x3
            convolution of stride 1 (section 4.2), for images of some 32 pixels.
    """

    depths: tuple[int, ...]
    width: int = 64
    stem: Literal["imagenet", "small"] = "imagenet"

    def __post_init__(self) -> None:
        """Refuse a network without blocks or filters."""
        super().__post_init__()
        check_stages(self.depths, self.width)


class ResidualNetwork(PooledClassifier):
    """A stem, stages of blocks, the mean over all positions, and a linear layer (table 1; section 4.2 for CIFAR).

    Every convolution is followed by batch normalisation (section 3.4), and so needs no bias. Parameters are named as in
    timm and torchvision. A subclass says with `make_block` what the blocks are.
    """

    config: ResidualConfig
    conv1: nn.Conv2d | nn.Sequential
    bn1: nn.BatchNorm2d
    maxpool: nn.Module

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__(config)
        channels = self.add_stem()
        for stage, depth in enumerate(config.depths):
            width, blocks = config.width * 2**stage, nn.Sequential()
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                block = self.make_block(channels, width, stride)
                blocks.append(block)
                channels = block.out_channels
            self.add_module(f"layer{stage + 1}", blocks)
        self.stage_names = tuple(f"layer{stage + 1}" for stage in range(len(config.depths)))

        self.num_features = channels
        self.fc = linear_head(channels, config.num_classes)

    def make_block(self, in_channels: int, width: int, stride: int) -> ResidualBlock:
        """Return a block of a stage whose width is `width`: that of the first one, doubled for each after it."""
        raise NotImplementedError

    def add_stem(self) -> int:
        """Make the layers before the first stage, and return how many channels they give."""
        config = self.config
        if config.stem == "imagenet":
            self.conv1 = nn.Conv2d(config.in_chans, config.width, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(config.in_chans, config.width, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(config.width)
        return config.width

    def forward_stem(self, x: Tensor) -> Tensor:
        """Return what the first stage is given."""
        # The ReLU stands before the pool in the authors' code. The two commute, and here it has a quarter of the work.
        return F.relu(self.maxpool(self.bn1(self.conv1(x))))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's output `(N, num_features, h, w)`: h is H / 32, or H / 4 in the networks for CIFAR."""
        x = self.forward_stem(x)
        for stage in self.stage_names:
            x = self.get_submodule(stage)(x)
        return x

    def init_weights(self) -> None:
        """Initialise as He et al. 2015 (arXiv:1502.01852), which the paper cites in section 3.4.

        That paper finds the variances 2 / fan_in and 2 / fan_out equally good. This is the latter, as in the Torch
        code of 2016, timm and torchvision. It says nothing of the last layer, which here begins as torch's do.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()
        if isinstance(self.fc, nn.Linear):
            self.init_head(self.fc)
