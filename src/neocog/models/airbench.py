"""airbench (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498).

The network that learns CIFAR-10 fastest: section 3 of the paper, descended from Page's "How to train your ResNet"
(2018) and hlb-CIFAR10. A convolution of 2x2 whose filters are to be whitening ones, three groups of 3x3 convolutions
that halve the resolution right after the first of them, and a linear layer over the maximum of each map.

It is built for the training that goes with it. The stem has two filters for each direction of 2x2 patches, plus and
minus, which `Recipe.whiten` makes from images; without that they are an ordinary convolution's. Every later
convolution begins as the identity on its first channels (section 3.3). Batch norms shift and do not scale, and logits
are divided so that the head may move fast.

`airbench94` is the network of github.com/KellerJordan/cifar10-airbench, airbench94_muon.py, and `airbench96` that of
airbench96.py there, which is wider, with a third convolution in each group and a shortcut past the last two. Names are
those of the former.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.conv import require_positive
from neocog.layers.identity import begin_as_identity
from neocog.models._classifier import Classifier, ModelConfig

POOL = 2
SHORTCUT_FROM = 3
"""Convolutions from which on a group has a shortcut."""


@dataclass(frozen=True, kw_only=True)
class AirbenchConfig(ModelConfig):
    """The scripts' settings of the network.

    Attributes:
        stem_width: filters of the stem; whitening makes 2 * in_chans * whiten_kernel² of them, 24 for colour images,
            and leaves further ones alone.
        widths: channels of each group.
        depth: convolutions in a group; from 3 on, what leaves the first is added to what leaves the last.
        whiten_kernel: side of the stem's filters.
        identity: let the convolutions of the groups begin as the identity on their first channels.
        norm_momentum: share of a batch in the running statistics of the norms.
        logit_divisor: what logits are divided by; None for the width of the last group.
        muon_start: begin as the scripts that train with Muon do: head's weights of standard deviation 1, and the stem's
            bias as torch draws it. Those for SGD leave the head to torch and set that bias to 0.
    """

    num_classes: int = 10
    stem_width: int = 24
    widths: tuple[int, ...] = (64, 256, 256)
    depth: int = 2
    whiten_kernel: int = 2
    identity: bool = True
    norm_momentum: float = 0.4
    logit_divisor: float | None = None
    muon_start: bool = True

    def __post_init__(self) -> None:
        """Refuse groups without channels or convolutions, and divisors and shares that are none."""
        super().__post_init__()
        if not self.widths or min(self.widths) < 1:
            raise UsageError(f"widths are the channels of each group, at least 1 in each; not {self.widths}")
        require_positive(stem_width=self.stem_width, depth=self.depth, whiten_kernel=self.whiten_kernel)
        if not 0 < self.norm_momentum <= 1:
            raise UsageError(f"norm_momentum is a share above 0 and at most 1, not {self.norm_momentum}")
        if self.logit_divisor is not None and self.logit_divisor <= 0:
            raise UsageError(f"logits are divided by a positive logit_divisor, not {self.logit_divisor}")


def norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    """Return a batch norm that shifts alone: its scale, which files have, stays 1."""
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=momentum)
    layer.weight.requires_grad_(False)
    return layer


class ConvGroup(nn.Module):
    """A convolution, a max pool, and further convolutions, each with a batch norm and GELU.

    Shapes: `(N, in_channels, H, W)` to `(N, channels, floor(H / 2), floor(W / 2))`.
    """

    def __init__(self, in_channels: int, channels: int, depth: int, momentum: float) -> None:
        super().__init__()
        self.depth = depth
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(POOL)
        self.norm1 = norm(channels, momentum)
        self.act1 = nn.GELU()
        for number in range(2, depth + 1):
            self.add_module(f"conv{number}", nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            self.add_module(f"norm{number}", norm(channels, momentum))
            self.add_module(f"act{number}", nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """Return the group's maps."""
        first: Tensor = self.act1(self.norm1(self.pool(self.conv1(x))))
        x = first
        for number in range(2, self.depth + 1):
            conv, norm, act = (getattr(self, f"{kind}{number}") for kind in ("conv", "norm", "act"))
            x = norm(conv(x))
            x = act(x + first if number == self.depth >= SHORTCUT_FROM else x)
        return x


class Airbench(Classifier):
    """A stem for whitening filters, groups of convolutions, and a linear layer over the maxima of their maps."""

    head_name = "head"
    stem_name = "whiten"
    config: AirbenchConfig

    def __init__(self, config: AirbenchConfig) -> None:
        super().__init__(config)
        self.whiten = nn.Conv2d(config.in_chans, config.stem_width, config.whiten_kernel)
        self.act = nn.GELU()
        groups: OrderedDict[str, nn.Module] = OrderedDict()
        channels = config.stem_width
        for number, width in enumerate(config.widths, 1):
            groups[str(number)] = ConvGroup(channels, width, config.depth, config.norm_momentum)
            channels = width
        self.layers = nn.Sequential(groups)
        self.stage_names = tuple(f"layers.{number}" for number in groups)
        self.num_features = channels
        self.head = nn.Linear(channels, config.num_classes, bias=False) if config.num_classes else nn.Identity()
        least = POOL ** len(config.widths) + config.whiten_kernel - 1
        self.min_size = (least, least)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last group's maps `(N, C, h, w)`: 256 of 3x3 pixels for CIFAR-10's 32x32."""
        maps: Tensor = self.layers(self.act(self.whiten(x)))
        return maps

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the maximum of each map `(N, num_features)`."""
        pooled = F.max_pool2d(features, tuple(features.shape[-2:])).flatten(1)
        if pre_logits or not self.config.num_classes:
            return pooled
        logits: Tensor = self.head(pooled) / (self.config.logit_divisor or self.num_features)
        return logits

    def init_weights(self) -> None:
        """Initialise as the scripts: torch's own convolutions, then the identity, and norms that do nothing."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)  # which is how torch draws them
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        assert self.whiten.bias is not None
        bound = self.whiten.weight[0].numel() ** -0.5 if self.config.muon_start else 0.0
        nn.init.uniform_(self.whiten.bias, -bound, bound)
        if self.config.identity:
            for module in self.layers.modules():
                if isinstance(module, nn.Conv2d):
                    begin_as_identity(module)
        if isinstance(self.head, nn.Linear):
            self.init_head(self.head)

    @torch.no_grad()
    def init_head(self, head: nn.Linear) -> None:
        """Draw the head's weights as torch does, and with `muon_start` divide them by their standard deviation."""
        nn.init.kaiming_uniform_(head.weight, a=5**0.5)
        if self.config.muon_start:
            head.weight.div_(head.weight.std())

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a fresh one with `num_classes` logits and, as before, no bias; 0 removes it."""
        super().reset_classifier(num_classes)
        if isinstance(self.head, nn.Linear):
            self.head.bias = None  # type: ignore[assignment]


NETWORK = Airbench
CONFIGS = {
    "airbench94": AirbenchConfig(),
    "airbench96": AirbenchConfig(
        widths=(128, 512, 512), depth=3, norm_momentum=0.1, logit_divisor=9.0, muon_start=False
    ),
}
