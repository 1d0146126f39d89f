"""ResNeXt (Xie, Girshick, Dollár, Tu and He 2016, "Aggregated residual transformations ...", arXiv:1611.05431).

A residual block whose F is a sum of many small transformations of the same form, F(x) = Σ T_i(x) over i = 1 ... C
(equation 2). C, the cardinality, is a dimension beside depth and width, and at equal cost the best of the three to
enlarge (section 5.1, table 4). Three forms of the block give the same numbers (figure 3); the third needs no more than
a grouped convolution in a ResNet's bottleneck.

Parameters are named as in timm and torchvision, whose files load as they are, whatever the form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.residual import Bottleneck, make_shortcut
from neocog.models._residual import ResidualConfig, ResidualNetwork

EXPANSION = 4
"""Output channels of a ResNet's bottleneck, and so of these, over the width of its stage (table 1)."""


@dataclass(frozen=True, kw_only=True)
class ResNeXtConfig(ResidualConfig):
    """One column of the paper's table 1, or one row of its table 7.

    Attributes:
        depths: blocks in each stage. A stage has half the resolution and twice the width of the one before.
        width: channels of the stem; a quarter of what the first stage gives.
        stem: "imagenet" is a 7x7 convolution and a max pool, each of stride 2 (table 1); "small" is one 3x3
            convolution of stride 1 (section 5.3), for images of some 32 pixels.
        cardinality: C, how many transformations a block adds up.
        group_width: d, the channels within each of them in the first stage; a network is named after C x d.
        form: which part of figure 3 computes the blocks: "split" is (a), "concatenated" (b), "grouped" (c). The first
            two are for reading: they are slower, and their numbers and parameters the same.
    """

    cardinality: int
    group_width: int
    form: Literal["split", "concatenated", "grouped"] = "grouped"

    def __post_init__(self) -> None:
        """Refuse blocks without transformations."""
        super().__post_init__()
        if self.cardinality < 1 or self.group_width < 1:
            raise UsageError(
                f"cardinality and group_width are at least 1, not {self.cardinality} and {self.group_width}"
            )


class GroupedBottleneck(Bottleneck):
    """Figure 3(c): 1x1, 3x3 and 1x1 convolutions, the 3x3 in C groups, each of which sees its own d channels only.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, in_channels: int, cardinality: int, d: int, out_channels: int, stride: int) -> None:
        # Deviation from ResNet's paper, and the authors' own code here: the stride is in the 3x3.
        around = make_shortcut("B", in_channels, out_channels, stride)
        super().__init__(in_channels, cardinality * d, out_channels, stride, around, groups=cardinality)

    def paths(self) -> Iterator[slice]:
        """Yield the channels of each transformation, d of all the C x d."""
        width, cardinality = self.conv2.out_channels, self.conv2.groups
        for start in range(0, width, width // cardinality):
            yield slice(start, start + width // cardinality)

    def embedding(self, x: Tensor, path: slice) -> Tensor:
        """Return what one transformation has before its last convolution: `(N, d, h, w)`."""
        x = F.conv2d(x, self.conv1.weight[path])
        x = F.relu(norm_of(self.bn1, x, path))
        x = F.conv2d(x, self.conv2.weight[path], stride=self.conv2.stride, padding=1)
        return F.relu(norm_of(self.bn2, x, path))


class ConcatenatedBottleneck(GroupedBottleneck):
    """Figure 3(b): C paths of 1x1 and 3x3 convolutions, concatenated before one 1x1, as in an Inception-ResNet.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        x = torch.cat([self.embedding(x, path) for path in self.paths()], dim=1)
        x = self.bn3(self.conv3(x))
        return x


class SplitBottleneck(GroupedBottleneck):
    """Figure 3(a) and equation 2: C paths of 1x1, 3x3 and 1x1 convolutions, whose outputs are added up.

    They equal (b) because a 1x1 convolution of concatenated maps is the sum of one of each. The last norm is that of
    the sum (section 4).

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def residual(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        transformed = [F.conv2d(self.embedding(x, path), self.conv3.weight[:, path]) for path in self.paths()]
        x = self.bn3(torch.stack(transformed).sum(dim=0))
        return x


def norm_of(norm: nn.BatchNorm2d, x: Tensor, channels: slice) -> Tensor:
    """Return what `norm` makes of some of its channels, whose running statistics follow when it is trained."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if norm.training and norm.num_batches_tracked is not None and channels.start == 0:
        norm.num_batches_tracked.add_(1)  # once for all paths, as the whole layer counts
    return F.batch_norm(
        x,
        norm.running_mean[channels],
        norm.running_var[channels],
        norm.weight[channels],
        norm.bias[channels],
        norm.training,
        norm.momentum or 0.0,
        norm.eps,
    )


FORMS = {"split": SplitBottleneck, "concatenated": ConcatenatedBottleneck, "grouped": GroupedBottleneck}


class ResNeXt(ResidualNetwork):
    """A ResNet with aggregated transformations for blocks (table 1; section 5.3 for CIFAR).

    Deviation: on CIFAR the paper's blocks are pre-activated ones. The authors' code came to prefer these, and has them.
    """

    config: ResNeXtConfig

    def make_block(self, in_channels: int, width: int, stride: int) -> GroupedBottleneck:
        """Return a block of `cardinality` transformations, twice as wide with each stage."""
        config = self.config
        d = config.group_width * (width // config.width)
        return FORMS[config.form](in_channels, config.cardinality, d, EXPANSION * width, stride)

    def init_head(self, head: nn.Linear) -> None:
        """Begin with biases of zero, as the authors' code does."""
        nn.init.zeros_(head.bias)


def cifar_config(cardinality: int) -> ResNeXtConfig:
    """Return section 5.3's network of 29 layers: three stages of three blocks, transformations 64 wide at first."""
    return ResNeXtConfig(num_classes=10, depths=(3, 3, 3), stem="small", cardinality=cardinality, group_width=64)


NETWORK = ResNeXt
CONFIGS = {
    # Table 1 and table 4.
    "resnext50_32x4d": ResNeXtConfig(depths=(3, 4, 6, 3), cardinality=32, group_width=4),
    "resnext101_32x4d": ResNeXtConfig(depths=(3, 4, 23, 3), cardinality=32, group_width=4),
    "resnext101_64x4d": ResNeXtConfig(depths=(3, 4, 23, 3), cardinality=64, group_width=4),
    # Of Mahajan et al. 2018 (arXiv:1805.00932), and torchvision.
    "resnext101_32x8d": ResNeXtConfig(depths=(3, 4, 23, 3), cardinality=32, group_width=8),
    # Table 7, on CIFAR-10.
    "resnext29_8x64d": cifar_config(8),
    "resnext29_16x64d": cifar_config(16),
}
