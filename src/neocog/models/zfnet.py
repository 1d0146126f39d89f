"""ZFNet (Zeiler and Fergus 2013, "Visualizing and understanding convolutional networks", arXiv:1311.2901).

Feature maps projected back to pixels showed what is wrong with AlexNet: first filters that know only extremes of
frequency, and second ones blurred by aliasing. So the first convolution became 7x7 of stride 2 instead of 11x11 of
stride 4 (section 4.1), which took 1.7 points off the top-5 error (table 2).

From the paper: figure 3's sizes, its order of pooling before contrast normalisation, dropout, the initialisation, and
the wider layers of table 3. Not in it: the normalisation's constants, which here are AlexNet's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import compress

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.norm import LocalResponseNorm
from neocog.models._classifier import Classifier, ModelConfig, linear_head
from neocog.models._draw import draw_normal

FEATURE_SIZE = 6
"""Height and width of the maps that the first fully-connected layer takes."""


@dataclass(frozen=True, kw_only=True)
class ZFNetConfig(ModelConfig):
    """Figure 3, and what table 3 changes in it.

    Attributes:
        filters: of the five convolutions.
        hidden: units of layers 6 and 7.
        dropout: share of the inputs of both that training leaves out (section 3).
    """

    filters: tuple[int, ...] = (96, 256, 384, 384, 256)
    hidden: int = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a network without filters or units."""
        super().__post_init__()
        if len(self.filters) != 5 or min(self.filters) < 1:
            raise UsageError(f"filters are those of five convolutions, at least 1 each; not {self.filters}")
        if self.hidden < 1:
            raise UsageError(f"hidden is the units of layers 6 and 7, at least 1; not {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of units, at least 0 and below 1; not {self.dropout}")


class PooledLayer(nn.Sequential):
    """A layer of figure 3: convolution, rectification, a max pool of 3x3 and stride 2, contrast normalisation.

    Sizes are the figure's where the pool counts windows that reach over the border (110 to 55, 26 to 13, 13 to 6).
    Rectification and pool commute; the former stands second here, where it has a quarter of the work.

    Shapes: `(N, in_channels, H, W)` to `(N, filters, ceil((h - 1) / 2), ceil((w - 1) / 2))` for a convolution's h x w.
    """

    def __init__(self, convolution: nn.Conv2d, *, norm: bool = True) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=convolution, pool=nn.MaxPool2d(3, stride=2, ceil_mode=True), relu=nn.ReLU()
        )
        if norm:
            layers["norm"] = LocalResponseNorm()
        super().__init__(layers)


class ZFNet(Classifier):
    """Figure 3: the layers bear its numbers, 1 to 5 with convolutions, 6 and 7 fully connected."""

    head_name = "output"
    stem_name = "layer1.conv"
    min_size = (47, 47)  # pools of layers 5 and 2 and the convolution of layer 2 take at least 2, 4 and 11 positions
    config: ZFNetConfig

    def __init__(self, config: ZFNetConfig) -> None:
        super().__init__(config)
        f1, f2, f3, f4, f5 = config.filters
        self.layer1 = PooledLayer(nn.Conv2d(config.in_chans, f1, 7, stride=2, padding=1))
        self.layer2 = PooledLayer(nn.Conv2d(f1, f2, 5, stride=2))
        self.layer3 = nn.Sequential(OrderedDict(conv=nn.Conv2d(f2, f3, 3, padding=1), relu=nn.ReLU()))
        self.layer4 = nn.Sequential(OrderedDict(conv=nn.Conv2d(f3, f4, 3, padding=1), relu=nn.ReLU()))
        self.layer5 = PooledLayer(nn.Conv2d(f4, f5, 3, padding=1), norm=False)
        layers = [f"layer{number}" for number in range(1, 6)]
        self.stage_names = tuple(compress(layers, (True, f2 != f3, f3 != f4, True, True)))
        # The paper has images of 224 pixels only; others are brought to its 6x6 positions as in torchvision's AlexNet.
        self.avgpool = nn.AdaptiveAvgPool2d(FEATURE_SIZE)
        self.dropout = nn.Dropout(config.dropout)
        self.layer6 = nn.Linear(f5 * FEATURE_SIZE * FEATURE_SIZE, config.hidden)
        self.layer7 = nn.Linear(config.hidden, config.hidden)
        self.num_features = config.hidden
        self.output = linear_head(config.hidden, config.num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return layer 5's output, `(N, 256, 6, 6)` of 224 pixels."""
        x = self.layer2(self.layer1(x))
        return self.layer5(self.layer4(self.layer3(x)))  # type: ignore[no-any-return]

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` layer 7's `(N, hidden)`."""
        x = self.avgpool(features).flatten(1)
        x = F.relu(self.layer6(self.dropout(x)))
        x = F.relu(self.layer7(self.dropout(x)))
        return x if pre_logits else self.output(x)

    def init_weights(self) -> None:
        """Draw weights from a normal distribution of standard deviation 0.01, and set biases to zero (section 3)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """Draw it as every other layer."""
        draw_normal(head, std=0.01)


NETWORK = ZFNet
CONFIGS = {
    "zfnet": ZFNetConfig(),
    "zfnet_large": ZFNetConfig(filters=(96, 256, 512, 1024, 512)),  # table 3, "adjust layers 3, 4, 5"
}
