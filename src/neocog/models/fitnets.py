"""FitNets (Romero, Ballas, Ebrahimi Kahou, Chassang, Gatta and Bengio 2015, "FitNets: hints for thin deep nets").

arXiv:1412.6550. A wide network teaches thinner and deeper ones: first what a layer in its middle returns, the hint,
then what it says of the classes. With a tenth of the teacher's parameters a student errs less than it does. Here are
the five networks of table 5; all activations are maxout, the largest of a few linear functions.

The teacher is that of Goodfellow et al. 2013 ("Maxout networks", arXiv:1302.4389), whose sizes its authors published
in pylearn2's scripts/papers/maxout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.activation import maxout
from neocog.models._classifier import Classifier, ModelConfig, linear_head

IMAGE_SIZE = 32
"""What the teacher's fully-connected layer is made for."""


@dataclass(frozen=True, kw_only=True)
class FitNetConfig(ModelConfig):
    """One column of the paper's table 7, or the teacher of section A.1.1.

    Attributes:
        widths: maxout units of each convolution, in stages that each end with a max pool of stride 2.
        kernels: side of a stage's filters.
        paddings: zeros around the input of a stage's convolutions.
        pools: windows of the pools. With one fewer than stages, the last pool takes the maximum over all positions.
        units: maxout units of the fully-connected layer.
        pieces: linear functions of each unit of the convolutions.
        fc_pieces: those of the fully-connected layer. With 2 all five networks have the parameters, and the teacher
            the multiplications, of table 5; section A.1.1 and the authors' code say 5.
        dropouts: shares of the image, and of each later layer's input, that training leaves out.
        init: "published" draws weights from U(-0.005, 0.005). So small are they that the deep ones learn nothing from
            labels alone (figure 2), but only with hints. "scaled" draws them with the variance 1 / fan_in, and then
            they do learn from labels.
    """

    widths: tuple[tuple[int, ...], ...]
    kernels: tuple[int, ...] = (3, 3, 3)
    paddings: tuple[int, ...] = (1, 1, 1)
    pools: tuple[int, ...] = (2, 2)
    units: int = 500
    pieces: int = 2
    fc_pieces: int = 2
    dropouts: tuple[float, float] = (0.0, 0.0)
    init: Literal["published", "scaled"] = "published"

    def __post_init__(self) -> None:
        """Refuse layers without units, pieces or filters, and stages without all that they need."""
        super().__post_init__()
        stages = len(self.widths)
        if len(self.kernels) != stages or len(self.paddings) != stages or stages - len(self.pools) not in (0, 1):
            raise UsageError(
                f"{stages} stages need as many kernels and paddings, and as many pools or one fewer; not "
                f"{len(self.kernels)}, {len(self.paddings)} and {len(self.pools)}"
            )
        counts = [count for widths in self.widths for count in (len(widths), *widths)]
        counts += [*self.kernels, *self.pools, self.units, self.pieces, self.fc_pieces]
        if not self.widths or min(counts) < 1:
            raise UsageError(f"widths, kernels, pools, units and pieces are at least 1; not {min(counts, default=0)}")
        if min(self.paddings) < 0:
            raise UsageError(f"paddings are numbers of zeros; not {self.paddings}")
        if any(not 0 <= share < 1 for share in self.dropouts):
            raise UsageError(f"dropouts are shares of what goes in, below 1; not {self.dropouts}")
        if self.least_size > IMAGE_SIZE:
            raise UsageError(
                f"kernels of {self.kernels} with paddings of {self.paddings} and pools of {self.pools} take images of "
                f"{self.least_size}x{self.least_size} or more, not {IMAGE_SIZE}x{IMAGE_SIZE}"
            )

    @property
    def least_size(self) -> int:
        """The least side of an image of which something is left at the end."""
        least = 1
        for stage in reversed(range(len(self.widths))):
            if stage < len(self.pools):  # a window may begin within the map and reach over its border
                least = 2 * least - 3 + max(2, self.pools[stage])
            for _ in self.widths[stage]:
                least = max(1, least + self.kernels[stage] - 1 - 2 * self.paddings[stage])
        return least


class MaxoutConv2d(nn.Conv2d):
    """A convolution with `pieces` filters for each of `units` maps, of which the largest value counts (A.1.2).

    The filters of one unit are neighbours, as in pylearn2.

    Shapes: `(N, in_channels, H, W)` to `(N, units, H + 2 padding - kernel + 1, W + 2 padding - kernel + 1)`.
    """

    def __init__(self, in_channels: int, units: int, pieces: int, kernel: int, padding: int) -> None:
        super().__init__(in_channels, units * pieces, kernel, padding=padding)
        self.pieces = pieces

    def forward(self, input: Tensor) -> Tensor:
        """Return the largest of each unit's filters."""
        return maxout(super().forward(input), self.pieces)


class MaxoutLinear(nn.Linear):
    """Likewise of a fully-connected layer: `(N, in_features)` to `(N, units)`."""

    def __init__(self, in_features: int, units: int, pieces: int) -> None:
        super().__init__(in_features, units * pieces)
        self.pieces = pieces

    def forward(self, input: Tensor) -> Tensor:
        """Return the largest of each unit's linear functions."""
        return maxout(super().forward(input), self.pieces)


class FitNet(Classifier):
    """Maxout convolutions with three max pools among them, a maxout layer and a linear one (section A.1).

    Convolutions are numbered throughout, as the paper's hints have them: a FitNet's `conv6` learns what the teacher's
    `conv2` returns.
    """

    head_name = "output"
    config: FitNetConfig

    def __init__(self, config: FitNetConfig) -> None:
        super().__init__(config)
        self.layers: list[str] = []
        channels, side = config.in_chans, IMAGE_SIZE
        stages = zip(config.widths, config.kernels, config.paddings, strict=True)
        for stage, (widths, kernel, padding) in enumerate(stages, 1):
            for width in widths:
                self._add(
                    f"conv{len(self.layers) - stage + 2}", MaxoutConv2d(channels, width, config.pieces, kernel, padding)
                )
                channels, side = width, side + 2 * padding - kernel + 1
            if stage > len(config.pools):
                self._add(f"pool{stage}", nn.AdaptiveMaxPool2d(1))
                side = 1
            else:
                # A window may reach over the border, as in the cuda-convnet that pylearn2 ran on.
                window = config.pools[stage - 1]
                self._add(f"pool{stage}", nn.MaxPool2d(window, stride=2, ceil_mode=True))
                side = -(-max(0, side - max(2, window)) // 2) + 1
        self.stage_names = tuple(name for name in self.layers if name.startswith("pool"))
        self.takes_one_size = len(config.pools) == len(config.widths)
        least = IMAGE_SIZE if self.takes_one_size else config.least_size
        self.min_size = (least, least)
        self.num_features = config.units
        self.fc = MaxoutLinear(channels * side * side, config.units, config.fc_pieces)
        self.output = linear_head(config.units, config.num_classes)

    def _add(self, name: str, module: nn.Module) -> None:
        self.layers.append(name)
        self.add_module(name, module)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last pool's maps, `(N, C, 1, 1)`, or the teacher's `(N, 192, 5, 5)`."""
        for name in self.layers:
            if name.startswith("conv"):
                # Deviation: what is left of the image is scaled up here too; pylearn2's script leaves it as it is.
                x = F.dropout(x, self.config.dropouts[name != "conv1"], self.training)
            x = self.get_submodule(name)(x)
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the maxout layer's `(N, units)`."""
        share = self.config.dropouts[1]
        x: Tensor = self.fc(F.dropout(features.flatten(1), share, self.training))
        if pre_logits:
            return x
        logits: Tensor = self.output(F.dropout(x, share, self.training))
        return logits

    def check_input(self, x: Tensor) -> None:
        """Raise `UsageError` for what does not fit; the teacher's last layers fit images of 32x32 alone."""
        super().check_input(x)
        if self.takes_one_size and x.shape[-2:] != self.min_size:
            raise UsageError(f"this FitNet takes images of 32x32, not {x.shape[-2]}x{x.shape[-1]}; resize them")

    def init_weights(self) -> None:
        """Draw weights from U(-0.005, 0.005), with biases of zero (sections A.1.2 and A.2), or as `init` says."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """Draw it as every other layer."""
        bound = 0.005 if self.config.init == "published" else (3 / head.weight[0].numel()) ** 0.5
        nn.init.uniform_(head.weight, -bound, bound)
        if head.bias is not None:
            nn.init.zeros_(head.bias)


NETWORK = FitNet
CONFIGS = {
    "fitnet_teacher": FitNetConfig(
        num_classes=10,
        widths=((96,), (192,), (192,)),
        kernels=(8, 8, 5),
        paddings=(4, 3, 3),
        pools=(4, 4, 2),
        dropouts=(0.2, 0.5),  # pylearn2's script
    ),
    # Table 7. The hint is what the teacher's conv2 returns, and the layer that is to learn it
    "fitnet1": FitNetConfig(num_classes=10, widths=((16,) * 3, (32,) * 3, (48, 48, 64))),  # conv6,
    "fitnet2": FitNetConfig(num_classes=10, widths=((16, 32, 32), (48, 64, 80), (96, 96, 128))),  # conv6,
    "fitnet3": FitNetConfig(num_classes=10, widths=((32, 48, 64, 64), (80,) * 4, (128,) * 3)),  # conv8,
    "fitnet4": FitNetConfig(num_classes=10, widths=((32, 32, 32, 48, 48), (80,) * 6, (128,) * 6)),  # and conv11.
}
