"""Inception v4 (Szegedy, Ioffe, Vanhoucke and Alemi 2016, "Inception-v4, Inception-ResNet and the impact of residual
connections on learning", arXiv:1602.07261).

Inception v3 without the compromises of its history: a stem that branches too (figure 3), and each kind of module the
same wherever it stands (figure 9). It is as accurate as the residual Inception of the same size, and slower to train.

Modules are named as the paper's figures; `NAMES` has timm's, which counts them: its `features.6` is `inception_a.0`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.branches import Concatenate, ConvBnReLU
from neocog.models._classifier import ModelConfig, linear_head
from neocog.models._draw import draw_glorot
from neocog.models._pooled import PooledClassifier


@dataclass(frozen=True, kw_only=True)
class InceptionV4Config(ModelConfig):
    """The paper has one network.

    Attributes:
        depths: modules A, B and C, with a reduction between two kinds (figure 9).
        dropout: share of the pooled features that training drops (figure 9: 0.8 are kept).
    """

    depths: tuple[int, int, int] = (4, 7, 3)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Refuse a network that lacks a kind of module, and a dropout that is no share."""
        super().__post_init__()
        if len(self.depths) != 3 or min(self.depths) < 1:
            raise UsageError(f"depths are the numbers of modules A, B and C, at least 1 each; not {self.depths}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")


def average_pool() -> nn.AvgPool2d:
    """Return the mean over each position and those around it that lie within the map."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def make_stem(in_chans: int) -> nn.Sequential:
    """Return figure 3: from 299x299 to 35x35 in six steps, three of which branch.

    Shapes: `(N, in_chans, 299, 299)` to `(N, 384, 35, 35)`.
    """
    return nn.Sequential(
        ConvBnReLU(in_chans, 32, 3, stride=2, padding="valid"),
        ConvBnReLU(32, 32, 3, padding="valid"),
        ConvBnReLU(32, 64, 3),
        Concatenate(
            maxpool=nn.MaxPool2d(3, stride=2),
            conv=ConvBnReLU(64, 96, 3, stride=2, padding="valid"),
        ),
        Concatenate(
            branch0=nn.Sequential(ConvBnReLU(160, 64, 1), ConvBnReLU(64, 96, 3, padding="valid")),
            branch1=nn.Sequential(
                ConvBnReLU(160, 64, 1),
                # Figure 3 has the 7x1 before the 1x7; this is the authors' code.
                ConvBnReLU(64, 64, (1, 7)),
                ConvBnReLU(64, 64, (7, 1)),
                ConvBnReLU(64, 96, 3, padding="valid"),
            ),
        ),
        Concatenate(
            conv=ConvBnReLU(192, 192, 3, stride=2, padding="valid"),
            maxpool=nn.MaxPool2d(3, stride=2),
        ),
    )


class InceptionA(Concatenate):
    """Figure 4, on maps of 35x35.

    Shapes: `(N, 384, H, W)` to the same.
    """

    def __init__(self) -> None:
        super().__init__(
            branch0=ConvBnReLU(384, 96, 1),
            branch1=nn.Sequential(ConvBnReLU(384, 64, 1), ConvBnReLU(64, 96, 3)),
            branch2=nn.Sequential(ConvBnReLU(384, 64, 1), ConvBnReLU(64, 96, 3), ConvBnReLU(96, 96, 3)),
            branch3=nn.Sequential(average_pool(), ConvBnReLU(384, 96, 1)),
        )


class ReductionA(Concatenate):
    """Figure 7 with k, l, m, n of table 1: 192, 224, 256, 384.

    Shapes: `(N, 384, H, W)` to `(N, 1024, (H - 1) // 2, (W - 1) // 2)`.
    """

    def __init__(self) -> None:
        super().__init__(
            branch0=ConvBnReLU(384, 384, 3, stride=2, padding="valid"),
            branch1=nn.Sequential(
                ConvBnReLU(384, 192, 1),
                ConvBnReLU(192, 224, 3),
                ConvBnReLU(224, 256, 3, stride=2, padding="valid"),
            ),
            branch2=nn.MaxPool2d(3, stride=2),
        )


class InceptionB(Concatenate):
    """Figure 5, on maps of 17x17.

    Shapes: `(N, 1024, H, W)` to the same.
    """

    def __init__(self) -> None:
        super().__init__(
            branch0=ConvBnReLU(1024, 384, 1),
            branch1=nn.Sequential(
                ConvBnReLU(1024, 192, 1),
                ConvBnReLU(192, 224, (1, 7)),
                ConvBnReLU(224, 256, (7, 1)),  # figure 5 prints 1x7 twice
            ),
            branch2=nn.Sequential(
                ConvBnReLU(1024, 192, 1),
                # Figure 5 begins with the 1x7; this is the authors' code.
                ConvBnReLU(192, 192, (7, 1)),
                ConvBnReLU(192, 224, (1, 7)),
                ConvBnReLU(224, 224, (7, 1)),
                ConvBnReLU(224, 256, (1, 7)),
            ),
            branch3=nn.Sequential(average_pool(), ConvBnReLU(1024, 128, 1)),
        )


class ReductionB(Concatenate):
    """Figure 8.

    Shapes: `(N, 1024, H, W)` to `(N, 1536, (H - 1) // 2, (W - 1) // 2)`.
    """

    def __init__(self) -> None:
        super().__init__(
            branch0=nn.Sequential(ConvBnReLU(1024, 192, 1), ConvBnReLU(192, 192, 3, stride=2, padding="valid")),
            branch1=nn.Sequential(
                ConvBnReLU(1024, 256, 1),
                ConvBnReLU(256, 256, (1, 7)),
                ConvBnReLU(256, 320, (7, 1)),
                ConvBnReLU(320, 320, 3, stride=2, padding="valid"),
            ),
            branch2=nn.MaxPool2d(3, stride=2),
        )


class InceptionC(nn.Module):
    """Figure 6, on maps of 8x8: two of the branches split.

    Shapes: `(N, 1536, H, W)` to the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = ConvBnReLU(1536, 256, 1)
        self.branch1_0 = ConvBnReLU(1536, 384, 1)
        self.branch1_1a = ConvBnReLU(384, 256, (1, 3))
        self.branch1_1b = ConvBnReLU(384, 256, (3, 1))
        self.branch2_0 = ConvBnReLU(1536, 384, 1)
        self.branch2_1 = ConvBnReLU(384, 448, (3, 1))
        self.branch2_2 = ConvBnReLU(448, 512, (1, 3))
        self.branch2_3a = ConvBnReLU(512, 256, (1, 3))
        self.branch2_3b = ConvBnReLU(512, 256, (3, 1))
        self.branch3 = nn.Sequential(average_pool(), ConvBnReLU(1536, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches' maps."""
        single, short = self.branch0(x), self.branch1_0(x)
        long = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        split = [self.branch1_1a(short), self.branch1_1b(short), self.branch2_3a(long), self.branch2_3b(long)]
        return torch.cat([single, *split, self.branch3(x)], dim=1)


class InceptionV4(PooledClassifier):
    """Figure 9. At 299x299 modules A, B and C see maps of 35x35, 17x17 and 8x8; what figures mark "V" pads nothing."""

    stem_name = "stem.0.conv"
    stage_names = ("stem.2", "stem.3", "inception_a", "inception_b", "inception_c")
    num_features = 1536
    min_size = (75, 75)
    config: InceptionV4Config

    def __init__(self, config: InceptionV4Config) -> None:
        super().__init__(config)
        a, b, c = config.depths
        self.stem = make_stem(config.in_chans)
        self.inception_a = nn.Sequential(*(InceptionA() for _ in range(a)))
        self.reduction_a = ReductionA()
        self.inception_b = nn.Sequential(*(InceptionB() for _ in range(b)))
        self.reduction_b = ReductionB()
        self.inception_c = nn.Sequential(*(InceptionC() for _ in range(c)))
        self.fc = linear_head(self.num_features, config.num_classes)
        self.head_dropout = config.dropout

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last module's output `(N, 1536, h, w)`, 8x8 for an image of 299x299."""
        x = self.inception_a(self.stem(x))
        x = self.inception_b(self.reduction_a(x))
        x = self.inception_c(self.reduction_b(x))
        return x

    def init_weights(self) -> None:
        """Initialise as the authors' code: He et al.'s variance of 2 / fan_in, and Glorot and Bengio's for the head."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Linear) -> None:
        """Draw it as Glorot and Bengio (2010) do, with biases of 0."""
        draw_glorot(head)


def timm_names(config: InceptionV4Config) -> dict[str, str]:
    """Return {our module's name: timm's}: timm counts all modules before the pool."""
    a, b, c = config.depths
    ours = [f"stem.{step}" for step in range(6)]
    ours += [f"inception_a.{module}" for module in range(a)] + ["reduction_a"]
    ours += [f"inception_b.{module}" for module in range(b)] + ["reduction_b"]
    ours += [f"inception_c.{module}" for module in range(c)]
    return {name: f"features.{index}" for index, name in enumerate(ours)} | {"fc": "last_linear"}


NETWORK = InceptionV4
CONFIGS = {"inception_v4": InceptionV4Config()}
NAMES = {"timm": timm_names}
