"""DenseNet (Huang, Liu, van der Maaten and Weinberger 2016, "Densely connected convolutional networks").

arXiv:1608.06993. A layer is given the maps of all layers before it in its block, concatenated (equation 2), and adds
only a few of its own: k, the growth rate. Maps once made are used again instead of made again, and the loss is a few
layers away from each, so that 0.8 million parameters reach the error on CIFAR-10 of a ResNet with ten million.

Parameters are named as in timm and torchvision, whose files load as they are; `OLDER_NAMES` are those of the files that
torchvision published in 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.recompute import concatenated, norm_relu_conv
from neocog.models._classifier import ModelConfig, linear_head
from neocog.models._pooled import PooledClassifier


@dataclass(frozen=True, kw_only=True)
class DenseNetConfig(ModelConfig):
    """One column of the paper's table 1, or one row of its table 2.

    Attributes:
        depths: layers in each dense block; the resolution is halved between two blocks.
        growth_rate: k, the maps that a layer adds.
        stem_width: maps that enter the first block.
        stem: "imagenet" is a 7x7 convolution and a max pool, each of stride 2 (table 1); "small" is one 3x3 convolution
            of stride 1 (section 3, implementation details), for images of some 32 pixels.
        bottleneck: begin each layer with a 1x1 convolution to 4k maps: the B of DenseNet-BC.
        compression: θ, the share of maps that a transition keeps; below 1 it is the C of DenseNet-BC.
        dropout: probability of zeroing a number of what a convolution returns, after each but the first; the paper
            takes 0.2 where it trains without augmentation.
        memory_efficient: in training, keep no concatenations for the backward pass, nor what is computed from them by
            norm and ReLU, but compute them again there (Pleiss et al. 2017, arXiv:1707.06990). Gradients are the same;
            what is kept grows with a block's depth and no longer with its square.
    """

    depths: tuple[int, ...]
    growth_rate: int
    stem_width: int
    stem: Literal["imagenet", "small"] = "imagenet"
    bottleneck: bool = True
    compression: float = 0.5
    dropout: float = 0.0
    memory_efficient: bool = False

    def __post_init__(self) -> None:
        """Refuse a network without layers or maps, and shares that are none."""
        super().__post_init__()
        if not self.depths or min(self.depths) < 1:
            raise UsageError(f"depths are the layers of each dense block, at least 1 in each; not {self.depths}")
        if self.growth_rate < 1 or self.stem_width < 1:
            raise UsageError(
                f"growth_rate and stem_width are numbers of maps, at least 1; not {self.growth_rate} and "
                f"{self.stem_width}"
            )
        if not 0 < self.compression <= 1:
            raise UsageError(f"compression is a share of maps above 0 and at most 1; not {self.compression}")
        if 0 in self.widths:
            raise UsageError(f"a compression of {self.compression} leaves no map of blocks of {self.depths} layers")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a probability below 1; not {self.dropout}")

    @property
    def widths(self) -> list[int]:
        """Maps that enter each block."""
        widths = [self.stem_width]
        for depth in self.depths[:-1]:
            widths.append(int((widths[-1] + depth * self.growth_rate) * self.compression))
        return widths


class DenseLayer(nn.Module):
    """H of equation 2: norm, ReLU and 3x3 convolution, in a bottleneck after a norm, a ReLU and a 1x1 convolution.

    Shapes: maps `(N, C_i, H, W)` whose C_i sum to in_channels, to `(N, growth_rate, H, W)`.
    """

    def __init__(self, config: DenseNetConfig, in_channels: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.bottleneck = config.bottleneck
        self.memory_efficient = config.memory_efficient
        growth, width = config.growth_rate, 4 * config.growth_rate
        self.norm1 = nn.BatchNorm2d(in_channels)
        if config.bottleneck:
            self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, growth, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)

    def forward(self, *maps: Tensor) -> Tensor:
        """Return this layer's maps, of those before it: concatenated already, or one by one."""
        if self.memory_efficient and torch.is_grad_enabled():
            x: Tensor = norm_relu_conv(maps, self.norm1, self.conv1)
        else:
            x = self.conv1(F.relu(self.norm1(concatenated(maps))))
        if self.bottleneck:
            x = F.dropout(x, self.dropout, self.training)
            x = self.conv2(F.relu(self.norm2(x)))
        return F.dropout(x, self.dropout, self.training)


class DenseBlock(nn.ModuleDict):
    """Figure 1: layers that see the maps of all before them.

    Shapes: `(N, in_channels, H, W)` to `(N, in_channels + depth * growth_rate, H, W)`.
    """

    def __init__(self, config: DenseNetConfig, in_channels: int, depth: int) -> None:
        super().__init__()
        self.memory_efficient = config.memory_efficient
        for layer in range(depth):
            self[f"denselayer{layer + 1}"] = DenseLayer(config, in_channels + layer * config.growth_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Return x and the maps of every layer, concatenated."""
        if self.memory_efficient:
            maps = [x]
            for layer in self.values():
                maps.append(layer(*maps))
            return torch.cat(maps, 1)
        # Each concatenation is made from the last one, so that a gradient is a sum of two, not of as many as follow.
        for layer in self.values():
            x = torch.cat((x, layer(x)), 1)
        return x


class Transition(nn.Module):
    """Between two blocks: norm, ReLU, 1x1 convolution and 2x2 average pooling (section 3, pooling layers).

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, floor(H / 2), floor(W / 2))`.
    """

    def __init__(self, config: DenseNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return half the resolution."""
        x = F.relu(self.norm(x))
        if self.dropout:
            x = self.pool(F.dropout(self.conv(x), self.dropout, self.training))
        else:
            # The paper convolves, then pools. The two commute, and here the convolution has a quarter of the work.
            x = self.conv(self.pool(x))
        return x


class DenseNet(PooledClassifier):
    """Table 1: a stem, dense blocks with transitions between them, the mean over positions, and a linear layer."""

    head_name = "classifier"
    stem_name = "features.conv0"
    config: DenseNetConfig

    def __init__(self, config: DenseNetConfig) -> None:
        super().__init__(config)
        channels = config.stem_width
        self.features = nn.Sequential()
        if config.stem == "imagenet":
            self.features.conv0 = nn.Conv2d(config.in_chans, channels, 7, stride=2, padding=3, bias=False)
            self.features.norm0 = nn.BatchNorm2d(channels)
            self.features.pool0 = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.features.conv0 = nn.Conv2d(config.in_chans, channels, 3, padding=1, bias=False)
        for block, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True), 1):
            if block > 1:
                self.features.add_module(f"transition{block - 1}", Transition(config, channels, width))
            self.features.add_module(f"denseblock{block}", DenseBlock(config, width, depth))
            channels = width + depth * config.growth_rate
        self.features.norm5 = nn.BatchNorm2d(channels)  # so called whatever the number of blocks
        self.stage_names = tuple(f"features.denseblock{block + 1}" for block in range(len(config.depths)))
        halved = 2 ** (len(config.depths) - 1)
        self.min_size = (4 * halved - 3, 4 * halved - 3) if config.stem == "imagenet" else (halved, halved)
        self.num_features = channels
        self.classifier = linear_head(channels, config.num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last block's maps, normalised and activated, `(N, num_features, h, w)`."""
        for name, module in self.features.named_children():
            x = module(x)
            if name in ("pool0", "norm5"):
                # The paper has the stem's ReLU before its pool. The two commute, and here it has a quarter of the work.
                x = F.relu(x)
        return x

    def init_weights(self) -> None:
        """Initialise as He et al. 2015 (arXiv:1502.01852), which the paper cites in section 4.2.

        Of the variances that that paper finds equally good this is 2 / fan_out, as in the authors' code; timm and
        torchvision take 2 / fan_in.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Linear) -> None:
        """Draw it as torch does, with a bias of zero."""
        head.reset_parameters()
        nn.init.zeros_(head.bias)


def cifar_config(layers: int, growth_rate: int, *, bc: bool) -> DenseNetConfig:
    """Return a row of table 2: three blocks; the stem, two transitions and the head are 4 of the layers."""
    depth = (layers - 4) // (6 if bc else 3)
    return DenseNetConfig(
        num_classes=10,
        depths=(depth,) * 3,
        growth_rate=growth_rate,
        stem_width=2 * growth_rate if bc else 16,
        stem="small",
        bottleneck=bc,
        compression=0.5 if bc else 1.0,
    )


def older_names(config: DenseNetConfig) -> dict[str, str]:
    """Return {our module's name: its name in the files that torchvision published in 2017}."""
    return {
        f"features.denseblock{block}.denselayer{layer}.{kind}{number}": (
            f"features.denseblock{block}.denselayer{layer}.{kind}.{number}"
        )
        for block, depth in enumerate(config.depths, 1)
        for layer in range(1, depth + 1)
        for kind in ("norm", "conv")
        for number in (1, 2)
    }


NETWORK = DenseNet
OLDER_NAMES = older_names
CONFIGS = {
    # Table 1, with k = 32; k = 48 is that of the authors' code.
    "densenet121": DenseNetConfig(depths=(6, 12, 24, 16), growth_rate=32, stem_width=64),
    "densenet161": DenseNetConfig(depths=(6, 12, 36, 24), growth_rate=48, stem_width=96),
    "densenet169": DenseNetConfig(depths=(6, 12, 32, 32), growth_rate=32, stem_width=64),
    "densenet201": DenseNetConfig(depths=(6, 12, 48, 32), growth_rate=32, stem_width=64),
    # Table 2, on CIFAR-10.
    "densenet40_12": replace(cifar_config(40, 12, bc=False), dropout=0.2),
    "densenet_bc100_12": cifar_config(100, 12, bc=True),
    "densenet_bc190_40": cifar_config(190, 40, bc=True),
}
