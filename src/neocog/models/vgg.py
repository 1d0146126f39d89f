"""VGG (Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition").

arXiv:1409.1556. Every convolution is 3x3: two of them see what one of 5x5 sees, three what one of 7x7 sees, with fewer
weights and more rectifications (section 2.3). So there is room for 16 or 19 layers with weights, and error falls with
depth, as far as that (table 3).

Parameters are named as in timm; `NAMES` says what torchvision calls them, and where it has a matrix for a convolution.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import Classifier, ModelConfig, linear_head
from neocog.models._draw import draw_glorot
from neocog.models._family import Names, Reshaped

FEATURE_SIZE = 7
"""Height and width of the maps that the first fully-connected layer takes: 224 pixels after five poolings."""


@dataclass(frozen=True, kw_only=True)
class VGGConfig(ModelConfig):
    """One column of the paper's table 1.

    Attributes:
        depths: convolutions in each stage; a 2x2 max pool of stride 2 ends it.
        widths: filters of each stage's convolutions.
        batch_norm: normalise between each convolution and its rectification (Ioffe and Szegedy 2015), as timm's and
            torchvision's "_bn"; the paper came before it.
        hidden: units of each of the two fully-connected layers before the last; None leaves both out.
        dropout: share of those units that training leaves out (section 3.1).
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    batch_norm: bool = False
    hidden: int | None = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a network without convolutions, filters or units."""
        super().__post_init__()
        if not self.depths or min(self.depths) < 1:
            raise UsageError(f"depths are the convolutions of each stage, at least 1 in each; not {self.depths}")
        if len(self.widths) != len(self.depths) or min(self.widths) < 1:
            raise UsageError(
                f"widths are the filters of each of the {len(self.depths)} stages, at least 1; not {self.widths}"
            )
        if self.hidden is not None and self.hidden < 1:
            raise UsageError(f"hidden is the units of a fully-connected layer, at least 1, or None; not {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of units, at least 0 and below 1; not {self.dropout}")


class FullyConnected(nn.Conv2d):
    """A fully-connected layer as the convolution that section 3.2 makes of it, to slide over larger images.

    Shapes: `(N, in_channels, h, w)` to `(N, out_channels, h - kernel + 1, w - kernel + 1)`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs at each position; with one position, by a product of matrices, which is faster."""
        if input.shape[-2:] != self.kernel_size:
            return super().forward(input)
        weight = self.weight
        if not weight.is_contiguous():  # channels last: then this order of both takes no copy of the weights
            input, weight = input.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
        units = F.linear(input.flatten(1), weight.flatten(1), self.bias)
        return units.view(*units.shape, 1, 1)


class HiddenLayers(nn.Module):
    """The two fully-connected layers between the stages and the last layer.

    Shapes: `(N, in_channels, h, w)` to `(N, hidden, max(h, 7) - 6, max(w, 7) - 6)`. Smaller maps are enlarged to 7x7 by
    repetition, as timm and torchvision do; the paper has none.
    """

    def __init__(self, in_channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = FullyConnected(in_channels, hidden, FEATURE_SIZE)
        self.drop = nn.Dropout(dropout)
        self.fc2 = FullyConnected(hidden, hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the units of the second layer at each position."""
        if min(x.shape[-2:]) < FEATURE_SIZE:
            height, width = x.shape[-2:]
            x = F.adaptive_avg_pool2d(x, (max(height, FEATURE_SIZE), max(width, FEATURE_SIZE)))
        x = self.drop(F.relu(self.fc1(x)))
        return F.relu(self.fc2(x))


class VGG(Classifier):
    """Stages of 3x3 convolutions, three fully-connected layers (table 1); the mean of the logits at all positions.

    One position is all that there is at 224 pixels. On larger images this is the dense evaluation of section 3.2, as in
    timm; torchvision shrinks the maps to 7x7 instead. The mean stands before the last layer, with which it commutes.
    """

    head_name = "head.fc"
    stem_name = "features.0"
    config: VGGConfig

    def __init__(self, config: VGGConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        channels, ends = config.in_chans, []
        for depth, width in zip(config.depths, config.widths, strict=True):
            for _ in range(depth):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if config.batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU())
                channels = width
            # The paper pools after the rectification. The two commute, and here the latter has a quarter of the work.
            layers.insert(-1, nn.MaxPool2d(2))
            ends.append(f"features.{len(layers) - 1}")
        self.features = nn.Sequential(*layers)
        self.stage_names = tuple(ends)
        self.min_size = (2 ** len(ends), 2 ** len(ends))

        self.pre_logits: nn.Module = nn.Identity()
        if config.hidden is not None:
            self.pre_logits = HiddenLayers(channels, config.hidden, config.dropout)
        self.num_features = config.hidden or channels
        drop, fc = nn.Dropout(config.dropout), linear_head(self.num_features, config.num_classes)
        self.head = nn.Sequential(OrderedDict(drop=drop, fc=fc))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's output `(N, widths[-1], H // 32, W // 32)`."""
        features: Tensor = self.features(x)
        return features

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` what the last layer is given, `(N, num_features)`."""
        pooled: Tensor = self.pre_logits(features).mean(dim=(2, 3))
        if pre_logits:
            return pooled
        logits: Tensor = self.head(pooled)
        return logits

    def init_weights(self) -> None:
        """Draw weights as Glorot and Bengio 2010 do, and set biases to zero.

        With that, the authors found after submission, every depth trains from the start (section 3.1). What they had
        done before, to draw with a variance of 0.01 and begin deeper networks with layers of the 11-layer one, is
        `neocog.models.grow`.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.init_head(module)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """Draw it as every other layer."""
        draw_glorot(head)

    def layers_from(self, smaller: Classifier) -> dict[str, str]:
        """Return which layers begin as those of `smaller`: the first four convolutions and all fully-connected ones.

        Section 3.1 says so of the 11-layer network, whose third convolution is the first of its third stage. So it goes
        to the first of the third stage here, the only one of its shape, wherever that stands in a row.
        """
        if not isinstance(smaller, VGG):
            raise UsageError(f"a VGG grows from a VGG, not from a {type(smaller).__name__}")
        mine, its = self.config, smaller.config
        for field in ("widths", "batch_norm", "hidden", "in_chans", "num_classes"):
            if getattr(mine, field) != getattr(its, field):
                raise UsageError(
                    f"networks that grow into each other differ in depth alone, not in {field}: "
                    f"{getattr(its, field)} cannot become {getattr(mine, field)}"
                )
        if mine.depths == its.depths or any(own < old for own, old in zip(mine.depths, its.depths, strict=True)):
            raise UsageError(f"stages of {its.depths} convolutions do not grow into stages of {mine.depths}")
        places = self.convolutions()
        layers = {places[place]: name for place, name in list(smaller.convolutions().items())[:4]}
        if mine.batch_norm:
            layers |= {_next(own): _next(old) for own, old in layers.items()}
        if mine.hidden is not None:
            layers |= {name: name for name in ("pre_logits.fc1", "pre_logits.fc2")}
        if mine.num_classes:
            layers[self.head_name] = self.head_name
        return layers

    def convolutions(self) -> Mapping[tuple[int, int], str]:
        """Return {(stage, position in it), both from 1: name} of all 3x3 convolutions, in order."""
        spacing = 3 if self.config.batch_norm else 2  # a convolution, its norm and its rectification
        starts = [0, *(int(end.rpartition(".")[2]) + 1 for end in self.stage_names)]
        return {
            (stage, position): f"features.{start + (position - 1) * spacing}"
            for stage, (start, depth) in enumerate(zip(starts, self.config.depths, strict=False), 1)
            for position in range(1, depth + 1)
        }


def _next(name: str) -> str:
    """Return the name of the norm after a convolution."""
    folder, _, number = name.rpartition(".")
    return f"{folder}.{int(number) + 1}"


def torchvision_names(config: VGGConfig) -> Names:
    """Return what torchvision calls the fully-connected layers, which there are matrices."""
    if config.hidden is None:
        return {}
    inputs = config.widths[-1]
    positions = FEATURE_SIZE * FEATURE_SIZE
    return {
        "pre_logits.fc1": Reshaped(
            "classifier.0", ours=(inputs, FEATURE_SIZE, FEATURE_SIZE), theirs=(inputs * positions,)
        ),
        "pre_logits.fc2": Reshaped("classifier.3", ours=(config.hidden, 1, 1), theirs=(config.hidden,)),
        "head.fc": "classifier.6",
    }


# Columns A, B, D and E of table 1. Column C, with a 1x1 convolution in place of D's third 3x3, is in neither library.
DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}

NETWORK = VGG
CONFIGS = {
    **{name: VGGConfig(depths=depths) for name, depths in DEPTHS.items()},
    **{f"{name}_bn": VGGConfig(depths=depths, batch_norm=True) for name, depths in DEPTHS.items()},
    # For images of 32 pixels, where the last stage is one pixel: batch norm, and of the fully-connected layers the last
    # alone. So Liu et al. 2017 (arXiv:1708.06519, section 4.1) and many since.
    **{
        f"{name}_cifar": VGGConfig(num_classes=10, depths=depths, batch_norm=True, hidden=None, dropout=0.0)
        for name, depths in DEPTHS.items()
    },
}
NAMES = {"torchvision": torchvision_names}
