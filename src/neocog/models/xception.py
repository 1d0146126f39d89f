"""Xception (Chollet 2016, "Xception: deep learning with depthwise separable convolutions", arXiv:1610.02357).

An Inception module looks for patterns between channels (1x1) apart from those in space (3x3), in a few branches. Taken
to its extreme every channel is a branch: a depthwise separable convolution. A network of nothing else, with residual
connections around its modules, is more accurate than Inception v3 with as many parameters (tables 1 and 3).

Modules bear the words of figure 5. `NAMES` says what timm calls them, whose files load as they are.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import ModelConfig, linear_head
from neocog.models._draw import draw_glorot
from neocog.models._pooled import PooledClassifier

MIDDLE_CHANNELS = 728


@dataclass(frozen=True, kw_only=True)
class XceptionConfig(ModelConfig):
    """Figure 5.

    Attributes:
        middle_modules: how often the middle flow's module is repeated.
        dropout: share of the pooled features that training drops on ImageNet (section 4.3).
    """

    middle_modules: int = 8
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a number that is none, and shares that are none."""
        super().__post_init__()
        if self.middle_modules < 1:
            raise UsageError(f"middle_modules is how often a module is repeated, at least 1; not {self.middle_modules}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")


class SeparableConvolution(nn.Module):
    """A 3x3 convolution of each channel by itself, a 1x1 convolution of all of them, and a norm, which figure 5 omits.

    Nothing stands between the two convolutions: a ReLU there would cost accuracy (section 4.7).

    Deviation: the norm's ε is 1e-5, as in timm, whose weights were measured so; in the author's Keras code it is 1e-3.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H, W)`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised output."""
        x = self.bn(self.pointwise(self.depthwise(x)))
        return x


class XceptionModule(nn.Module):
    """ReLUs and separable convolutions in turn, perhaps a max pool of stride 2, and a connection around all of them.

    Where resolution and width change, the connection is a 1x1 convolution of stride 2. Nothing activates the sum.

    Shapes: `(N, in_channels, H, W)` to `(N, widths[-1], ceil(H / stride), ceil(W / stride))`.

    Args:
        in_channels: of the input.
        widths: output channels of each separable convolution.
        stride: 1 or 2.
        activated: whether the input comes from a ReLU, so that the first one here is left out.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], stride: int, *, activated: bool = False) -> None:
        super().__init__()
        self.activated = activated
        self.separable = nn.Sequential()
        for before, width in zip((in_channels, *widths), widths, strict=False):
            self.separable.append(SeparableConvolution(before, width))
        self.pool: nn.Module = nn.Identity()
        self.around: nn.Module = nn.Identity()
        if stride > 1:
            conv = nn.Conv2d(in_channels, widths[-1], 1, stride, bias=False)
            self.pool = nn.MaxPool2d(3, stride, padding=1)
            self.around = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(widths[-1])))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        y = x
        for number, convolution in enumerate(self.separable):
            if number > 0 or not self.activated:
                y = F.relu(y)
            y = convolution(y)
        y = self.pool(y)
        total: Tensor = y + self.around(x)
        return total


class EntryFlow(nn.Module):
    """Figure 5, left: two 3x3 convolutions, then three modules, each of which halves the resolution.

    The two convolutions have no padding, as in the author's code: 299x299 becomes 147x147.

    Shapes: `(N, in_chans, H, W)` to `(N, 728, h, w)`, h being some H / 16.
    """

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.module1 = XceptionModule(64, (128, 128), 2, activated=True)
        self.module2 = XceptionModule(128, (256, 256), 2)
        self.module3 = XceptionModule(256, (MIDDLE_CHANNELS, MIDDLE_CHANNELS), 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the middle flow is given."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.module3(self.module2(self.module1(x)))
        return x


class ExitFlow(nn.Module):
    """Figure 5, right, up to the mean over positions: a module that halves the resolution, two wide convolutions.

    Shapes: `(N, 728, h, w)` to `(N, 2048, ceil(h / 2), ceil(w / 2))`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.module1 = XceptionModule(MIDDLE_CHANNELS, (MIDDLE_CHANNELS, 1024), 2)
        self.separable1 = SeparableConvolution(1024, 1536)
        self.separable2 = SeparableConvolution(1536, 2048)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        x = F.relu(self.separable1(self.module1(x)))
        return F.relu(self.separable2(x))


class Xception(PooledClassifier):
    """Figure 5: entry flow, middle flow, exit flow, the mean over positions, and a linear layer."""

    stem_name = "entry_flow.conv1"
    num_features = 2048
    stage_names = (
        "entry_flow.conv1",
        "entry_flow.conv2",
        "entry_flow.module1",
        "entry_flow.module2",
        "entry_flow.module3",
        "exit_flow.module1",
        "exit_flow.separable1",
        "exit_flow.separable2",
    )
    min_size = (7, 7)
    config: XceptionConfig

    def __init__(self, config: XceptionConfig) -> None:
        super().__init__(config)
        widths = (MIDDLE_CHANNELS,) * 3
        self.entry_flow = EntryFlow(config.in_chans)
        self.middle_flow = nn.Sequential(
            *(XceptionModule(MIDDLE_CHANNELS, widths, 1) for _ in range(config.middle_modules))
        )
        self.exit_flow = ExitFlow()
        self.fc = linear_head(self.num_features, config.num_classes)
        self.head_dropout = config.dropout

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last map: `(N, 2048, h, w)`, 10x10 for images of 299x299."""
        x = self.exit_flow(self.middle_flow(self.entry_flow(x)))
        return x

    def init_weights(self) -> None:
        """Initialise as Glorot and Bengio (2010): Keras does, and so does the author's code, the paper being silent."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                draw_glorot(module)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        if isinstance(self.fc, nn.Linear):
            self.init_head(self.fc)

    def init_head(self, head: nn.Linear) -> None:
        """Draw it likewise, with biases of zero."""
        draw_glorot(head)


def timm_names(config: XceptionConfig) -> dict[str, str]:
    """Return {our module: timm's}, which numbers modules through and counts ReLUs among the layers within them."""
    names = {f"entry_flow.{layer}": layer for layer in ("conv1", "bn1", "conv2", "bn2")}
    middle = [f"middle_flow.{number}" for number in range(config.middle_modules)]
    modules = ["entry_flow.module1", "entry_flow.module2", "entry_flow.module3", *middle, "exit_flow.module1"]
    for number, module in enumerate(modules, start=1):
        for convolution in range(3 if module in middle else 2):
            ours, place = f"{module}.separable.{convolution}", 3 * convolution + (number > 1)
            names |= separable_names(ours, f"block{number}.rep.{place}", f"block{number}.rep.{place + 1}")
        if module not in middle:
            names |= {f"{module}.around.conv": f"block{number}.skip", f"{module}.around.bn": f"block{number}.skipbn"}
    for number in (1, 2):
        names |= separable_names(f"exit_flow.separable{number}", f"conv{number + 2}", f"bn{number + 2}")
    return names


def separable_names(ours: str, convolution: str, norm: str) -> dict[str, str]:
    """Return the names of the three layers of a `SeparableConvolution`."""
    return {
        f"{ours}.depthwise": f"{convolution}.conv1",
        f"{ours}.pointwise": f"{convolution}.pointwise",
        f"{ours}.bn": norm,
    }


NETWORK = Xception
NAMES = {"timm": timm_names}
CONFIGS = {"xception": XceptionConfig()}
