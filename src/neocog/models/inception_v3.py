"""Inception v3 (Szegedy, Vanhoucke, Ioffe, Shlens and Wojna 2015, "Rethinking the Inception architecture for computer
vision", arXiv:1512.00567).

Large kernels are factorised: a 5x5 into two 3x3 (figure 5), an nxn into 1xn and nx1 (figure 6); maps shrink in modules
that convolve and pool side by side, so that nothing is squeezed (figure 10). With label smoothing and batch norm in the
auxiliary classifier, 5 billion multiply-adds made 21.2 % errors.

Parameters are named as in timm and torchvision, whose files load as they are. The paper's table 1 is an earlier state:
it draws the stem without 1x1 and pool between its last convolutions. This is the authors' code, as is everyone's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.branches import ConvBnReLU
from neocog.models._classifier import AuxiliaryHead, ModelConfig, linear_head
from neocog.models._pooled import PooledClassifier

SMALLEST_AUXILIARY_MAP = 17
"""Side of the map on which the auxiliary classifier's 5x5 convolution still fits after its pool."""


@dataclass(frozen=True, kw_only=True)
class InceptionV3Config(ModelConfig):
    """The paper has one network.

    Attributes:
        dropout: share of the pooled features that training drops; 0.2 in the authors' code, 0.5 in torchvision, unsaid
            in the paper.
        auxiliary: build the auxiliary classifier on the last map of 17x17 (figure 8), 2.3 M parameters.
    """

    dropout: float = 0.2
    auxiliary: bool = False

    def __post_init__(self) -> None:
        """Refuse a dropout that is no share."""
        super().__post_init__()
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")


class InceptionA(nn.Module):
    """Figure 5: where GoogLeNet had a 5x5, two 3x3. Deviation: the authors' code keeps a 5x5 in a branch of its own.

    Shapes: `(N, in_channels, 35, 35)` to `(N, 224 + pool_features, 35, 35)`, or any other size.
    """

    def __init__(self, in_channels: int, pool_features: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBnReLU(in_channels, 64, 1)
        self.branch5x5_1 = ConvBnReLU(in_channels, 48, 1)
        self.branch5x5_2 = ConvBnReLU(48, 64, 5)
        self.branch3x3dbl_1 = ConvBnReLU(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvBnReLU(64, 96, 3)
        self.branch3x3dbl_3 = ConvBnReLU(96, 96, 3)
        self.branch_pool = ConvBnReLU(in_channels, pool_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches' maps."""
        single = self.branch1x1(x)
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pool = self.branch_pool(averaged(x))
        return torch.cat([single, five, double, pool], dim=1)


class InceptionB(nn.Module):
    """Figure 10: from 35x35 to 17x17, convolutions of stride 2 beside a pool.

    Shapes: `(N, in_channels, H, W)` to `(N, 480 + in_channels, (H - 1) // 2, (W - 1) // 2)`.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBnReLU(in_channels, 384, 3, stride=2, padding="valid")
        self.branch3x3dbl_1 = ConvBnReLU(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvBnReLU(64, 96, 3)
        self.branch3x3dbl_3 = ConvBnReLU(96, 96, 3, stride=2, padding="valid")

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches' maps."""
        single = self.branch3x3(x)
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([single, double, F.max_pool2d(x, 3, stride=2)], dim=1)


class InceptionC(nn.Module):
    """Figure 6 with n = 7: a 7x7 in two steps, and two of them in four.

    Shapes: `(N, in_channels, 17, 17)` to `(N, 768, 17, 17)`, or any other size.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBnReLU(in_channels, 192, 1)
        self.branch7x7_1 = ConvBnReLU(in_channels, width, 1)
        self.branch7x7_2 = ConvBnReLU(width, width, (1, 7))
        self.branch7x7_3 = ConvBnReLU(width, 192, (7, 1))
        self.branch7x7dbl_1 = ConvBnReLU(in_channels, width, 1)
        self.branch7x7dbl_2 = ConvBnReLU(width, width, (7, 1))
        self.branch7x7dbl_3 = ConvBnReLU(width, width, (1, 7))
        self.branch7x7dbl_4 = ConvBnReLU(width, width, (7, 1))
        self.branch7x7dbl_5 = ConvBnReLU(width, 192, (1, 7))
        self.branch_pool = ConvBnReLU(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches' maps."""
        single = self.branch1x1(x)
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pool = self.branch_pool(averaged(x))
        return torch.cat([single, seven, double, pool], dim=1)


class InceptionD(nn.Module):
    """From 17x17 to 8x8 as in figure 10, one branch with a factorised 7x7.

    Shapes: `(N, in_channels, H, W)` to `(N, 512 + in_channels, (H - 1) // 2, (W - 1) // 2)`.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvBnReLU(in_channels, 192, 1)
        self.branch3x3_2 = ConvBnReLU(192, 320, 3, stride=2, padding="valid")
        self.branch7x7x3_1 = ConvBnReLU(in_channels, 192, 1)
        self.branch7x7x3_2 = ConvBnReLU(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvBnReLU(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvBnReLU(192, 192, 3, stride=2, padding="valid")

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches' maps."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], dim=1)


class InceptionE(nn.Module):
    """Figure 7: on the smallest maps 1x3 and 3x1 side by side, for many features.

    Shapes: `(N, in_channels, 8, 8)` to `(N, 2048, 8, 8)`, or any other size.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBnReLU(in_channels, 320, 1)
        self.branch3x3_1 = ConvBnReLU(in_channels, 384, 1)
        self.branch3x3_2a = ConvBnReLU(384, 384, (1, 3))
        self.branch3x3_2b = ConvBnReLU(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvBnReLU(in_channels, 448, 1)
        self.branch3x3dbl_2 = ConvBnReLU(448, 384, 3)
        self.branch3x3dbl_3a = ConvBnReLU(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvBnReLU(384, 384, (3, 1))
        self.branch_pool = ConvBnReLU(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return all branches' maps."""
        single, three = self.branch1x1(x), self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        split = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        split += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([single, *split, self.branch_pool(averaged(x))], dim=1)


class AuxiliaryClassifier(AuxiliaryHead):
    """Figure 8: from 17x17 to one position, with batch normalisation, which section 4 finds is what helps.

    Shapes: `(N, in_channels, H, W)` to `(N, num_classes)`, with H and W at least 17.
    """

    num_features = 768

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv0 = ConvBnReLU(in_channels, 128, 1)
        self.conv1 = ConvBnReLU(128, self.num_features, 5, padding="valid")
        self.fc = linear_head(self.num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        if min(x.shape[-2:]) < SMALLEST_AUXILIARY_MAP:
            raise UsageError(
                f"Inception v3's auxiliary classifier takes maps of at least 17x17, not {x.shape[-2]}x{x.shape[-1]}; "
                "give it images of at least 299x299, or train without it"
            )
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, stride=3)))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits

    def init_head(self, head: nn.Linear) -> None:
        """Draw it a hundred times smaller than other layers, as the authors' code does."""
        init_layer(head, std=0.001)


class InceptionV3(PooledClassifier):
    """At 299x299 the modules see maps of 35x35 (A), 17x17 (C) and 8x8 (E). The stem pads one convolution only."""

    stem_name = "Conv2d_1a_3x3.conv"
    stage_names = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")
    auxiliary_names = {"Mixed_6e": "AuxLogits"}
    num_features = 2048
    min_size = (75, 75)
    config: InceptionV3Config

    def __init__(self, config: InceptionV3Config) -> None:
        super().__init__(config)
        self.Conv2d_1a_3x3 = ConvBnReLU(config.in_chans, 32, 3, stride=2, padding="valid")
        self.Conv2d_2a_3x3 = ConvBnReLU(32, 32, 3, padding="valid")
        self.Conv2d_2b_3x3 = ConvBnReLU(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = ConvBnReLU(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvBnReLU(80, 192, 3, padding="valid")
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(192, pool_features=32)
        self.Mixed_5c = InceptionA(256, pool_features=64)
        self.Mixed_5d = InceptionA(288, pool_features=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, width=128)
        self.Mixed_6c = InceptionC(768, width=160)
        self.Mixed_6d = InceptionC(768, width=160)
        self.Mixed_6e = InceptionC(768, width=192)
        if config.auxiliary:
            self.AuxLogits = AuxiliaryClassifier(768, config.num_classes)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.fc = linear_head(self.num_features, config.num_classes)
        self.head_dropout = config.dropout

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last module's output `(N, 2048, h, w)`, 8x8 for an image of 299x299."""
        for name, module in self.named_children():
            if name not in ("AuxLogits", "fc"):
                x = module(x)
        return x

    def init_weights(self) -> None:
        """Draw weights as torchvision does: standard deviation 0.1, in the auxiliary classifier 0.01 and 0.001.

        Deviation: drawn from a normal distribution that is cut off at 20 of them, which is to say not cut off.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                init_layer(module, std=0.1)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        for head in self.auxiliary_heads.values():
            init_layer(head.get_submodule("conv1.conv"), std=0.01)
            init_layer(head.get_submodule("fc"), std=0.001)

    def init_head(self, head: nn.Linear) -> None:
        """Draw it as every other layer."""
        init_layer(head, std=0.1)


def averaged(x: Tensor) -> Tensor:
    """Return the mean over each position and those around it.

    Deviation: zeros around the map count, as in timm and torchvision; the authors' TensorFlow leaves them out.
    """
    return F.avg_pool2d(x, 3, stride=1, padding=1)


def init_layer(layer: nn.Module, *, std: float) -> None:
    """Draw the weights of a layer; torch's own initialisation for biases."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        layer.reset_parameters()
        nn.init.normal_(layer.weight, std=std)


NETWORK = InceptionV3
CONFIGS = {"inception_v3": InceptionV3Config()}
