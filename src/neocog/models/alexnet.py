"""AlexNet (Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks").

Five convolutions and three fully-connected layers, made trainable on 1.2 million photographs by rectified units
(section 3.1), two GPUs (3.2) and dropout (4.2). It won ILSVRC-2012 with a top-5 error of 15.3 %; the next had 26.2 %.

Three networks go by that name: `alexnet_2012` is the published one; `alexnet` the single tower of Krizhevsky 2014 ("One
weird trick", arXiv:1404.5997) in torchvision's form, with its parameters' names; `alexnet_ungrouped` a taught one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain, compress
from typing import Literal

from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.norm import LocalResponseNorm
from neocog.models._classifier import Classifier, ModelConfig, linear_head
from neocog.models._draw import draw_normal

FEATURE_SIZE = 6
"""Height and width of the maps that the first fully-connected layer takes."""


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig(ModelConfig):
    """What the networks of that name differ in; the defaults are the published ones.

    Attributes:
        filters: of the five convolutions.
        groups: into how many parts, one a GPU, the maps of the second, fourth and fifth convolution are divided; they
            see the maps of their own GPU only (figure 2).
        padding: of the first convolution. The paper's image of 224 pixels does not give its 55 positions: 227 without
            padding do, and 224 with 2 as in torchvision.
        norm: where local response normalisation stands after the first two convolutions: "before_pool" as in section
            3.5, "after_pool" as it is taught, or "none".
        hidden: units of each of the two hidden fully-connected layers.
        dropout: share of the inputs of both that training leaves out (section 4.2).
    """

    filters: tuple[int, ...] = (96, 256, 384, 384, 256)
    groups: int = 2
    padding: int = 0
    norm: Literal["before_pool", "after_pool", "none"] = "before_pool"
    hidden: int = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Refuse filters that are not there or do not divide into groups."""
        super().__post_init__()
        if len(self.filters) != 5 or min(self.filters) < 1:
            raise UsageError(f"filters are those of five convolutions, at least 1 each; not {self.filters}")
        if self.groups < 1 or any(filters % self.groups for filters in self.filters):
            raise UsageError(
                f"groups have to divide the filters of each convolution; {self.groups} do not divide {self.filters}"
            )
        if not 0 <= self.padding <= 10:
            raise UsageError(f"padding is that of an 11x11 convolution, from 0 to 10; not {self.padding}")
        if self.hidden < 1:
            raise UsageError(f"hidden is the units of a fully-connected layer, at least 1; not {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of units, at least 0 and below 1; not {self.dropout}")


def pooled(convolution: nn.Conv2d, norm: str = "none") -> list[nn.Module]:
    """Return a convolution and what stands after it where its maps are pooled, by overlapping windows (section 3.4).

    Deviation without effect: the pool stands before the rectification where the two are neighbours. They commute, and
    the latter then has a quarter of the work.
    """
    pool = nn.MaxPool2d(3, stride=2)
    if norm == "before_pool":
        return [convolution, nn.ReLU(), LocalResponseNorm(), pool]
    layers = [convolution, pool, nn.ReLU()]
    return [*layers, LocalResponseNorm()] if norm == "after_pool" else layers


class AlexNet(Classifier):
    """Figure 2: five convolutions, of which three are pooled, and three fully-connected layers.

    Deviation: the normalisation of `alexnet_2012` sums over neighbours among all maps, as section 3.3 writes it, where
    two GPUs saw each its own half.
    """

    head_name = "classifier.6"
    stem_name = "features.0"
    config: AlexNetConfig

    def __init__(self, config: AlexNetConfig) -> None:
        super().__init__(config)
        f1, f2, f3, f4, f5 = config.filters
        groups = config.groups
        layers = [
            pooled(nn.Conv2d(config.in_chans, f1, 11, stride=4, padding=config.padding), config.norm),
            pooled(nn.Conv2d(f1, f2, 5, padding=2, groups=groups), config.norm),
            [nn.Conv2d(f2, f3, 3, padding=1), nn.ReLU()],
            [nn.Conv2d(f3, f4, 3, padding=1, groups=groups), nn.ReLU()],
            pooled(nn.Conv2d(f4, f5, 3, padding=1, groups=groups)),
        ]
        self.features = nn.Sequential(*chain.from_iterable(layers))
        last = [f"features.{end - 1}" for end in accumulate(map(len, layers))]
        self.stage_names = tuple(compress(last, (True, f2 != f3, f3 != f4, True, True)))
        # As torchvision: images of any size give the 6x6 positions that the layers below were made for.
        self.avgpool = nn.AdaptiveAvgPool2d(FEATURE_SIZE)
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(f5 * FEATURE_SIZE * FEATURE_SIZE, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            linear_head(config.hidden, config.num_classes),
        )
        self.num_features = config.hidden
        self.min_size = (67 - 2 * config.padding, 67 - 2 * config.padding)  # of which three poolings leave one position

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last pool's output, `(N, 256, 6, 6)` of the published image size."""
        features: Tensor = self.features(x)
        return features

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` what the last layer is given, `(N, hidden)`."""
        x: Tensor = self.classifier[:-1](self.avgpool(features).flatten(1))
        return x if pre_logits else self.classifier[-1](x)

    def init_weights(self) -> None:
        """Draw weights from a normal distribution of standard deviation 0.01 (section 5).

        Biases are 1 in the second, fourth and fifth convolution and the hidden fully-connected layers, which gives
        their rectified units something to begin with, and 0 elsewhere.
        """
        layers = [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        for number, layer in enumerate(layers, 1):
            self.init_head(layer)
            if number in (2, 4, 5, 6, 7) and layer.bias is not None:
                nn.init.ones_(layer.bias)

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """Draw it as every other layer, with zero biases."""
        draw_normal(head, std=0.01)


NETWORK = AlexNet
CONFIGS = {
    "alexnet_2012": AlexNetConfig(),
    "alexnet": AlexNetConfig(filters=(64, 192, 384, 256, 256), groups=1, padding=2, norm="none"),
    "alexnet_ungrouped": AlexNetConfig(groups=1, norm="after_pool"),
}
