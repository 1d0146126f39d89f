"""Inception-ResNet v1 and v2 (Szegedy, Ioffe, Vanhoucke and Alemi 2016, "Inception-v4, Inception-ResNet and the impact
of residual connections on learning", arXiv:1602.07261).

An Inception module adds to its input instead of replacing it; a 1x1 convolution without activation gives its branches
the width of the sum. Such networks train much faster, and are as accurate as Inception networks of their cost: v1 has
that of Inception v3, v2 that of v4. Above a thousand filters they die early unless the residual is scaled down (3.3).

Modules are named as the paper's figures; `NAMES` has timm's for v2 (`repeat_1` is `inception_b`). No reference has v1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.branches import Concatenate, ConvBnReLU
from neocog.models._classifier import ModelConfig, linear_head
from neocog.models._draw import draw_glorot
from neocog.models._pooled import PooledClassifier

Widths = tuple[tuple[int, ...], ...]
"""For each branch of a module, the filters of its convolutions."""


@dataclass(frozen=True, kw_only=True)
class InceptionResNetConfig(ModelConfig):
    """One of the two networks of figure 15.

    Attributes:
        stem: what follows the seven convolutions and pools that both share: in "v1" a 3x3 convolution of stride 2
            (figure 14); in "v2" a pool and an Inception module. Deviation: v2's is the authors' code's; the paper says
            that it is Inception v4's.
        inception_a: filters of each branch of the module on 35x35 (figures 10, 16).
        reduction_a: n; then k, l, m of table 1 (figure 7).
        inception_b: of the module on 17x17 (figures 11, 17).
        reduction_b: of the three branches of the reduction to 8x8 (figures 12, 18).
        inception_c: of the module on 8x8 (figures 13, 19).
        depths: modules A, B and C.
        scales: of their residuals, 0.1 to 0.3 (section 3.3).
        last_width: filters of a 1x1 convolution after all modules; None for no such convolution. Deviation: the
            authors' code has it in v2, the paper has not. The module before it then has neither scale nor ReLU.
        dropout: share of the pooled features that training drops (figure 15: 0.8 are kept).
    """

    stem: Literal["v1", "v2"]
    inception_a: Widths
    reduction_a: Widths
    inception_b: Widths
    reduction_b: Widths
    inception_c: Widths
    depths: tuple[int, int, int] = (5, 10, 5)
    scales: tuple[float, float, float] = (0.17, 0.1, 0.2)
    last_width: int | None = None
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Refuse a network that lacks modules, branches or filters, and shares that are none."""
        super().__post_init__()
        if len(self.depths) != 3 or min(self.depths) < 1:
            raise UsageError(f"depths are the numbers of modules A, B and C, at least 1 each; not {self.depths}")
        if len(self.scales) != 3 or not all(0 < scale <= 1 for scale in self.scales):
            raise UsageError(f"scales are of modules A, B and C, above 0 and at most 1; not {self.scales}")
        if self.last_width is not None and self.last_width < 1:
            raise UsageError(f"last_width is a number of filters, at least 1, or None; not {self.last_width}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")
        kinds = {"inception_a": (1, 2, 3), "reduction_a": (1, 3), "inception_b": (1, 3)}
        for kind, lengths in {**kinds, "reduction_b": (2, 2, 3), "inception_c": (1, 3)}.items():
            widths: Widths = getattr(self, kind)
            if tuple(map(len, widths)) != lengths or min(map(min, widths)) < 1:
                raise UsageError(f"{kind} has branches of {lengths} convolutions with filters in each; not {widths}")


class ResidualInception(nn.Module):
    """ReLU(x + scale * F(x)), where F is branches and a 1x1 convolution without norm or activation (figure 20).

    Shapes: `(N, channels, H, W)` to the same.

    Args:
        channels: of the sum.
        widths: filters of the branches' convolutions.
        kernels: of the convolutions after the first, which is a 1x1; each branch has the first few of them.
        scale: of the residual.
    """

    def __init__(self, channels: int, widths: Widths, kernels: tuple[int | tuple[int, int], ...], scale: float) -> None:
        super().__init__()
        self.branch_names = tuple(f"branch{number}" for number in range(len(widths)))
        for name, branch in zip(self.branch_names, widths, strict=True):
            self.add_module(name, make_branch(channels, branch, kernels))
        self.conv2d = nn.Conv2d(sum(branch[-1] for branch in widths), channels, 1)
        self.scale, self.relu = scale, True

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum, activated."""
        branches = torch.cat([self.get_submodule(name)(x) for name in self.branch_names], dim=1)
        total = torch.add(x, self.conv2d(branches), alpha=self.scale)
        return total.relu_() if self.relu else total  # in place: the sum is no module's output


def make_branch(channels: int, widths: tuple[int, ...], kernels: tuple[int | tuple[int, int], ...]) -> nn.Module:
    """Return a 1x1 convolution and as many of `kernels` as there are widths left."""
    convolutions = [ConvBnReLU(channels, widths[0], 1)]
    for before, width, kernel in zip(widths, widths[1:], kernels, strict=False):
        convolutions.append(ConvBnReLU(before, width, kernel))
    return nn.Sequential(*convolutions) if len(convolutions) > 1 else convolutions[0]


class ReductionA(Concatenate):
    """Figure 7: from 35x35 to 17x17.

    Shapes: `(N, C, H, W)` to `(N, C + m + n, (H - 1) // 2, (W - 1) // 2)`.
    """

    def __init__(self, channels: int, widths: Widths) -> None:
        (n,), (k, l, m) = widths  # noqa: E741 - the paper's letters
        super().__init__(
            branch0=ConvBnReLU(channels, n, 3, stride=2, padding="valid"),
            branch1=nn.Sequential(
                ConvBnReLU(channels, k, 1),
                ConvBnReLU(k, l, 3),
                ConvBnReLU(l, m, 3, stride=2, padding="valid"),
            ),
            branch2=nn.MaxPool2d(3, stride=2),
        )


class ReductionB(Concatenate):
    """Figures 12 and 18: from 17x17 to 8x8.

    Shapes: `(N, C, H, W)` to `(N, C + last filters of each branch, (H - 1) // 2, (W - 1) // 2)`.
    """

    def __init__(self, channels: int, widths: Widths) -> None:
        branches: dict[str, nn.Module] = {}
        for number, branch in enumerate(widths):
            *first, before, last = branch
            convolutions = make_branch(channels, (*first, before), (3,))
            halving = ConvBnReLU(before, last, 3, stride=2, padding="valid")
            steps = convolutions.children() if first else [convolutions]
            branches[f"branch{number}"] = nn.Sequential(*steps, halving)
        super().__init__(**branches, branch3=nn.MaxPool2d(3, stride=2))


def make_stem(config: InceptionResNetConfig) -> tuple[nn.Sequential, int]:
    """Return figure 14, from 299x299 to 35x35, and the channels that it gives."""
    steps: list[nn.Module] = [
        ConvBnReLU(config.in_chans, 32, 3, stride=2, padding="valid"),
        ConvBnReLU(32, 32, 3, padding="valid"),
        ConvBnReLU(32, 64, 3),
        nn.MaxPool2d(3, stride=2),
        ConvBnReLU(64, 80, 1),
        ConvBnReLU(80, 192, 3, padding="valid"),
    ]
    if config.stem == "v1":
        return nn.Sequential(*steps, ConvBnReLU(192, 256, 3, stride=2, padding="valid")), 256
    mixed = Concatenate(
        branch0=ConvBnReLU(192, 96, 1),
        branch1=nn.Sequential(ConvBnReLU(192, 48, 1), ConvBnReLU(48, 64, 5)),
        branch2=nn.Sequential(ConvBnReLU(192, 64, 1), ConvBnReLU(64, 96, 3), ConvBnReLU(96, 96, 3)),
        branch3=nn.Sequential(
            nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            ConvBnReLU(192, 64, 1),
        ),
    )
    return nn.Sequential(*steps, nn.MaxPool2d(3, stride=2), mixed), 320


class InceptionResNet(PooledClassifier):
    """Figure 15. At 299x299 modules A, B and C see maps of 35x35, 17x17 and 8x8."""

    stem_name = "stem.0.conv"
    min_size = (75, 75)
    config: InceptionResNetConfig

    def __init__(self, config: InceptionResNetConfig) -> None:
        super().__init__(config)
        self.stem, channels = make_stem(config)
        self.inception_a = self._modules_of(0, channels, config.inception_a, (3, 3))
        self.reduction_a = ReductionA(channels, config.reduction_a)
        channels += sum(branch[-1] for branch in config.reduction_a)
        self.inception_b = self._modules_of(1, channels, config.inception_b, ((1, 7), (7, 1)))
        self.reduction_b = ReductionB(channels, config.reduction_b)
        channels += sum(branch[-1] for branch in config.reduction_b)
        self.inception_c = self._modules_of(2, channels, config.inception_c, ((1, 3), (3, 1)))
        self.last_conv = ConvBnReLU(channels, config.last_width, 1) if config.last_width else nn.Identity()
        self.stage_names = ("stem.2", "stem.5", "inception_a", "inception_b", "inception_c")
        self.stage_names += ("last_conv",) if config.last_width else ()
        self.num_features = config.last_width or channels
        self.fc = linear_head(self.num_features, config.num_classes)
        self.head_dropout = config.dropout

    def _modules_of(
        self, kind: int, channels: int, widths: Widths, kernels: tuple[int | tuple[int, int], ...]
    ) -> nn.Sequential:
        """Return the modules of a kind: A, B or C."""
        modules = [
            ResidualInception(channels, widths, kernels, self.config.scales[kind])
            for _ in range(self.config.depths[kind])
        ]
        if kind == 2 and self.config.last_width:
            modules[-1].scale, modules[-1].relu = 1.0, False
        return nn.Sequential(*modules)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last map `(N, num_features, h, w)`, 8x8 for an image of 299x299."""
        x = self.inception_a(self.stem(x))
        x = self.inception_b(self.reduction_a(x))
        x = self.inception_c(self.reduction_b(x))
        x = self.last_conv(x)
        return x

    def init_weights(self) -> None:
        """Initialise as the authors' code: He et al.'s variance of 2 / fan_in, and Glorot and Bengio's for the head."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Linear) -> None:
        """Draw it as Glorot and Bengio (2010) do, with biases of 0."""
        draw_glorot(head)


def timm_names(config: InceptionResNetConfig) -> dict[str, str]:
    """Return {our module's name: timm's}, which has v2 alone."""
    stem = {0: "conv2d_1a", 1: "conv2d_2a", 2: "conv2d_2b", 4: "conv2d_3b", 5: "conv2d_4a", 7: "mixed_5b"}
    names = {f"stem.{step}": name for step, name in stem.items()}
    names |= {"inception_a": "repeat", "reduction_a": "mixed_6a", "inception_b": "repeat_1", "reduction_b": "mixed_7a"}
    names |= {f"inception_c.{number}": f"repeat_2.{number}" for number in range(config.depths[2] - 1)}
    return names | {f"inception_c.{config.depths[2] - 1}": "block8", "last_conv": "conv2d_7b", "fc": "classif"}


NETWORK = InceptionResNet
CONFIGS = {
    "inception_resnet_v1": InceptionResNetConfig(
        stem="v1",
        inception_a=((32,), (32, 32), (32, 32, 32)),
        reduction_a=((384,), (192, 192, 256)),
        inception_b=((128,), (128, 128, 128)),
        reduction_b=((256, 384), (256, 256), (256, 256, 256)),
        inception_c=((192,), (192, 192, 192)),
    ),
    # Twice the modules of figure 15, as in the authors' code.
    "inception_resnet_v2": InceptionResNetConfig(
        stem="v2",
        inception_a=((32,), (32, 32), (32, 48, 64)),
        reduction_a=((384,), (256, 256, 384)),
        inception_b=((192,), (128, 160, 192)),
        reduction_b=((256, 384), (256, 288), (256, 288, 320)),
        inception_c=((192,), (192, 224, 256)),
        depths=(10, 20, 10),
        last_width=1536,
    ),
}
NAMES = {"timm": timm_names}
