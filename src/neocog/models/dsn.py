"""Deeply-supervised nets (Lee, Xie, Gallagher, Zhang and Tu 2014, "Deeply-supervised nets", arXiv:1409.5185).

A companion classifier on each hidden layer asks of its features that they separate the classes by themselves, so that
early layers learn something of use and do not get their gradients through all later ones alone. The network below is
Network in Network for CIFAR-10, whose error falls from 10.4 % to 9.7 %.

The paper gives few numbers; the network is that of its authors' files (github.com/s9xie/DSN, best_cifar10_9.65), which
they recommend for MNIST, CIFAR-100 and SVHN too. Layers are named as there; `companion1` is their `ip_svm1`.
The task that trains companions is `neocog.train.deep_supervision.DeepSupervisionTask`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import AuxiliaryHead, ModelConfig, linear_head
from neocog.models._draw import draw_normal
from neocog.models._pooled import PooledClassifier


@dataclass(frozen=True, kw_only=True)
class DSNConfig(ModelConfig):
    """The authors have one network, whatever the images.

    Attributes:
        dropout: share that training drops after each of the two pools.
        auxiliary: build the three companion classifiers, 2.6 M parameters for ten classes.
        image_size: of the images that companions classify, pixels; the network itself takes others.
    """

    num_classes: int = 10
    dropout: float = 0.5
    auxiliary: bool = False
    image_size: int = 32

    def __post_init__(self) -> None:
        """Refuse an image without pixels, and a dropout that is no share."""
        super().__post_init__()
        if self.image_size < 4:
            raise UsageError(f"image_size is a number of pixels, at least 4; not {self.image_size}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")


class Companion(AuxiliaryHead):
    """Section 2's local classifier: one linear layer on all numbers of a hidden layer, before its ReLU.

    Shapes: `(N, channels, side, side)` to `(N, num_classes)`.
    """

    def __init__(self, channels: int, side: int, num_classes: int) -> None:
        super().__init__()
        self.channels, self.side = channels, side
        self.num_features = channels * side * side
        self.fc = linear_head(self.num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        if x.shape[-2:] != (self.side, self.side):
            raise UsageError(
                f"a companion made for maps of {self.side}x{self.side} was given one of {x.shape[-2]}x{x.shape[-1]}; "
                "set image_size to that of the images"
            )
        logits: Tensor = self.fc(x.flatten(1))
        return logits

    def init_head(self, head: nn.Linear) -> None:
        """Draw it uniformly with variance 1 / fan_in, Caffe's "xavier", with biases of 0."""
        bound = (3 / head.in_features) ** 0.5
        nn.init.uniform_(head.weight, -bound, bound)
        nn.init.zeros_(head.bias)


class DSN(PooledClassifier):
    """Three times a convolution and two 1x1 convolutions ("cccp"), the last of which gives the classes' maps.

    Their mean over all positions is the logits. The last 1x1 convolution is done after that mean and not before it,
    where it is the same function and has a position to do instead of all.
    """

    head_name = "cccp6"
    stage_names = ("conv1", "pool1", "pool2")
    auxiliary_names = {"conv1": "companion1", "conv2": "companion2", "conv3": "companion3"}
    num_features = 192
    min_size = (4, 4)
    config: DSNConfig

    def __init__(self, config: DSNConfig) -> None:
        super().__init__(config)
        self.conv1 = nn.Conv2d(config.in_chans, 192, 5, padding=2)
        self.cccp1 = nn.Conv2d(192, 160, 1)
        self.cccp2 = nn.Conv2d(160, 96, 1)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = nn.Conv2d(96, 192, 5, padding=2)
        self.cccp3 = nn.Conv2d(192, 192, 1)
        self.cccp4 = nn.Conv2d(192, 192, 1)
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # Network in Network has an average pool here
        self.conv3 = nn.Conv2d(192, 192, 3, padding=1)
        self.cccp5 = nn.Conv2d(192, 192, 1)
        self.cccp6 = linear_head(192, config.num_classes)
        if config.auxiliary:
            for halvings, name in enumerate(self.auxiliary_names.values()):
                self.add_module(name, Companion(192, config.image_size // 2**halvings, config.num_classes))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return cccp5's activated output `(N, 192, h, w)`: h is H / 4, rounded down."""
        # ReLU and a max pool commute, and after the pool ReLU has a quarter of the work.
        x = F.relu(self.cccp1(F.relu(self.conv1(x))))
        x = F.relu(self.pool1(self.cccp2(x)))
        x = F.relu(self.conv2(F.dropout(x, self.config.dropout, self.training)))
        x = F.relu(self.pool2(self.cccp4(F.relu(self.cccp3(x)))))
        x = F.relu(self.conv3(F.dropout(x, self.config.dropout, self.training)))
        return F.relu(self.cccp5(x))

    def init_weights(self) -> None:
        """Draw weights as the authors do, with standard deviation 0.05 (companions see `Companion`); biases are 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.init_head(module)
        for companion in self.auxiliary_heads.values():
            if isinstance(companion.fc, nn.Linear):
                companion.init_head(companion.fc)

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """Draw it as every other layer."""
        draw_normal(head, std=0.05)


NETWORK = DSN
CONFIGS = {"dsn": DSNConfig(), "dsn_mnist": DSNConfig(in_chans=1)}
