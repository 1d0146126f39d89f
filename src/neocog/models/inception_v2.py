"""Inception v2 (Ioffe and Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal
covariate shift", arXiv:1502.03167), also called BN-Inception.

Batch normalisation after every convolution lets GoogLeNet learn at five times the rate, reach its accuracy in a
fourteenth of the steps and pass it (at thirty times the rate, by more: figure 3), without dropout or local response
norm. Two 3x3 convolutions take the place of each 5x5 (appendix, figure 5), and the maps shrink inside of modules
instead of between them.

No reference library has it. Modules are named as the paper's, like GoogLeNet's; the authors' TF-Slim code has none of
the words of the paper (its `Mixed_3b` is 3a).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.branches import Concatenate, ConvBnReLU
from neocog.models._classifier import ModelConfig, linear_head
from neocog.models._pooled import PooledClassifier

Pool = Literal["average", "max"]

FIGURE_5: dict[str, tuple[int, int, int, int, int, Pool, int]] = {
    # module: filters of the 1x1, of the 3x3's reduction, the 3x3, the double 3x3's reduction, each of the double 3x3,
    # then the pool and its projection's filters. Without a 1x1 and a projection a module halves the map.
    "inception3a": (64, 64, 64, 64, 96, "average", 32),
    "inception3b": (64, 64, 96, 64, 96, "average", 64),
    "inception3c": (0, 128, 160, 64, 96, "max", 0),
    "inception4a": (224, 64, 96, 96, 128, "average", 128),
    "inception4b": (192, 96, 128, 96, 128, "average", 128),
    # Figure 5 prints projections of 128 in 4c and 4d, and outputs of 576 channels: 96, as in the authors' code.
    "inception4c": (160, 128, 160, 128, 160, "average", 96),
    "inception4d": (96, 128, 192, 160, 192, "average", 96),
    "inception4e": (0, 128, 192, 192, 256, "max", 0),
    "inception5a": (352, 192, 320, 160, 224, "average", 128),
    "inception5b": (352, 192, 320, 192, 224, "max", 128),
}


@dataclass(frozen=True, kw_only=True)
class InceptionV2Config(ModelConfig):
    """The paper has one network.

    Attributes:
        dropout: share of the pooled features that training drops; none (section 4.2.1), 0.2 in the authors' code.
    """

    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a dropout that is no share."""
        super().__post_init__()
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")


class Inception(Concatenate):
    """A row of figure 5: up to four branches side by side.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H, W)`; half of H and W, rounded up, in 3c and 4e.
    """

    def __init__(self, in_channels: int, row: tuple[int, int, int, int, int, Pool, int]) -> None:
        one, three_reduce, three, double_reduce, double, pool, projection = row
        stride = 1 if projection else 2
        branches: dict[str, nn.Module] = {}
        if one:
            branches["branch1"] = ConvBnReLU(in_channels, one, 1)
        branches["branch2"] = nn.Sequential(
            ConvBnReLU(in_channels, three_reduce, 1),
            ConvBnReLU(three_reduce, three, 3, stride),
        )
        branches["branch3"] = nn.Sequential(
            ConvBnReLU(in_channels, double_reduce, 1),
            ConvBnReLU(double_reduce, double, 3),
            ConvBnReLU(double, double, 3, stride),
        )
        # Deviation: with stride 2 TensorFlow pads below and to the right alone, and its windows lie a pixel further on.
        branches["branch4"] = nn.MaxPool2d(3, stride, padding=1)
        if pool == "average":
            branches["branch4"] = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        if projection:
            branches["branch4"] = nn.Sequential(branches["branch4"], ConvBnReLU(in_channels, projection, 1))
        super().__init__(**branches)
        self.out_channels = one + three + double + (projection or in_channels)


class InceptionV2(PooledClassifier):
    """Figure 5. At 224x224 the modules see maps of 28x28 (3a to 3c), 14x14 (4a to 4e) and 7x7.

    Deviation: the authors make the first convolution of two, 8 filters for each channel by itself and a 1x1 (figure 5's
    footnote), which saves multiply-adds and takes memory. Here it is the one that those two factorise, so that it can
    be adapted to other channels.
    """

    stem_name = "conv1.conv"
    stage_names = ("conv1", "conv3", "inception3b", "inception4d", "inception5b")
    config: InceptionV2Config

    def __init__(self, config: InceptionV2Config) -> None:
        super().__init__(config)
        self.conv1 = ConvBnReLU(config.in_chans, 64, 7, stride=2)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = ConvBnReLU(64, 64, 1)
        self.conv3 = ConvBnReLU(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 192
        for name, row in FIGURE_5.items():
            module = Inception(channels, row)
            channels = module.out_channels
            self.add_module(name, module)
        self.num_features = channels
        self.fc = linear_head(channels, config.num_classes)
        self.head_dropout = config.dropout

    def forward_features(self, x: Tensor) -> Tensor:
        """Return 5b's output `(N, 1024, h, w)`: h is H / 32, rounded up."""
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        for name in FIGURE_5:
            x = self.get_submodule(name)(x)
        return x

    def init_weights(self) -> None:
        """Draw weights with He et al.'s variance of 2 / fan_in, as the authors' code does; the paper does not say.

        That code draws the reductions with fixed deviations of 0.09 and 0.1 instead, which batch norm undoes.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                init_layer(module)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()

    def init_head(self, head: nn.Linear) -> None:
        """Draw it as every other layer, with biases of 0."""
        init_layer(head)


def init_layer(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw a layer's weights, and set its biases to 0."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


NETWORK = InceptionV2
CONFIGS = {"inception_v2": InceptionV2Config()}
