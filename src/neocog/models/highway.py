"""Highway networks (Srivastava, Greff and Schmidhuber 2015, "Training very deep networks", arXiv:1507.06228).

A gate decides for each unit how much of it a layer transforms and how much it carries on as it is (equation 3). Gates
that begin nearly shut make of a hundred layers nearly none, so that gradients pass; training opens them where it helps.
So plain gradient descent trains networks of a hundred layers. arXiv:1505.00387 is the same in short.

What is published: the fully-connected networks whole; of the convolutional ones depth, parameters and (for table 3) the
authors' Caffe definition, github.com/flukeskywalker/highway-networks. Comments at `CONFIGS` say what was chosen here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import Classifier, ModelConfig, linear_head
from neocog.models._draw import draw_normal

Nonlinearity = Literal["relu", "tanh"]
ACTIVATIONS: dict[Nonlinearity, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}


@dataclass(frozen=True, kw_only=True)
class HighwayMLPConfig(ModelConfig):
    """A fully-connected network of section 3.1 and figure 1.

    Attributes:
        layers: fully-connected layers, the first of which is plain in any case; the output is not among them.
        gated: whether the others are highway layers; else they are plain.
        width: units of each layer. 50 with a gate have the parameters of 71 without.
        activation: of H. The paper searched for the better of the two, and does not print which it was. With "tanh" the
            gates make the difference that figure 1 shows: after an epoch of MNIST by the recipe `quick`, 50 highway
            layers have 90.6 % of the test images right, and 50 plain layers 10.6 %.
        transform_bias: with which transform gates begin; the more negative, the more they carry.
        image_size: height and width of the images, which it takes as vectors.
    """

    num_classes: int = 10
    in_chans: int = 1
    layers: int
    gated: bool = True
    width: int = 50
    activation: Nonlinearity = "tanh"
    transform_bias: float = -2.0
    image_size: int = 28

    def __post_init__(self) -> None:
        """Refuse a network without layers, units or pixels."""
        super().__post_init__()
        if min(self.layers, self.width, self.image_size) < 1:
            numbers = f"{self.layers}, {self.width} and {self.image_size}"
            raise UsageError(f"layers, width and image_size are at least 1; not {numbers}")


@dataclass(frozen=True, kw_only=True)
class HighwayConfig(ModelConfig):
    """A convolutional network of tables 2 and 3.

    Attributes:
        widths: maps of each stage. The first layer of a stage is plain, for it changes their number; before each stage
            but the first stands a 2x2 max pool.
        depths: layers of each stage.
        kernels: sides of the layers' filters, in turn, in each stage anew.
        units: of the hidden layer before the output.
        pool: "max" gives the hidden layer the maximum over all positions, as in FitNets; "average" has it work at each
            position, and takes its mean.
        transform_bias: with which transform gates begin; the more negative, the more they carry.
        dropout: share that training leaves out of the image, of what each pool returns, and of the hidden layer.
    """

    num_classes: int = 10
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...] = (3,)
    units: int = 256
    pool: Literal["max", "average"] = "max"
    transform_bias: float = -2.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse stages without layers, maps or filters."""
        super().__post_init__()
        counts = (*self.widths, *self.depths, *self.kernels, self.units)
        if not self.widths or len(self.widths) != len(self.depths) or not self.kernels or min(counts) < 1:
            raise UsageError(
                f"widths and depths are as many, and they, kernels and units at least 1; not {self.widths}, "
                f"{self.depths}, {self.kernels} and {self.units}"
            )
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise UsageError(f"a highway layer keeps the resolution, so kernels are odd; not {self.kernels}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share below 1; not {self.dropout}")


class PlainLayer(nn.Module):
    """y = H(x), a linear map or convolution and an activation (equation 1)."""

    def __init__(self, transform: nn.Linear | nn.Conv2d, activation: Nonlinearity) -> None:
        super().__init__()
        self.transform = transform
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        return ACTIVATIONS[self.activation](self.transform(x))


class HighwayLayer(PlainLayer):
    """y = H(x) T(x) + x (1 - T(x)), with the transform gate T a logistic layer like H (equation 3).

    Shapes: x, H(x) and T(x) have the same.
    """

    def __init__(
        self, transform: nn.Linear | nn.Conv2d, transform_gate: nn.Linear | nn.Conv2d, activation: Nonlinearity
    ) -> None:
        super().__init__(transform, activation)
        self.transform_gate = transform_gate

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        return torch.lerp(x, super().forward(x), torch.sigmoid(self.transform_gate(x)))


class HighwayMLP(Classifier):
    """Figure 1: a plain layer, highway layers (or plain ones, to compare), and the output."""

    head_name = "output"
    stem_name = "first.transform"
    stage_names = ("first",)
    config: HighwayMLPConfig

    def __init__(self, config: HighwayMLPConfig) -> None:
        super().__init__(config)
        width, activation = config.width, config.activation
        # The fully-connected layer of an image is a convolution as large as the image.
        self.first = PlainLayer(nn.Conv2d(config.in_chans, width, config.image_size), activation)
        self.layers = nn.Sequential()
        for _ in range(config.layers - 1):
            if config.gated:
                self.layers.append(HighwayLayer(nn.Linear(width, width), nn.Linear(width, width), activation))
            else:
                self.layers.append(PlainLayer(nn.Linear(width, width), activation))
        self.min_size = (config.image_size, config.image_size)
        self.num_features = width
        self.output = linear_head(width, config.num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last layer's units, `(N, width)`."""
        units: Tensor = self.layers(self.first(x).flatten(1))
        return units

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the features."""
        return features if pre_logits else self.output(features)

    def check_input(self, x: Tensor) -> None:
        """Raise `UsageError` for images of any size but the one that the first layer is made for."""
        super().check_input(x)
        height, width = self.min_size
        if x.shape[-2:] != self.min_size:
            raise UsageError(
                f"this network takes images of {height}x{width}, not {x.shape[-2]}x{x.shape[-1]}; resize them, or "
                "build it with another image_size"
            )

    def init_weights(self) -> None:
        """Draw weights as Glorot and Bengio 2010 do for tanh, and for ReLU as He et al. 2015, as the paper says.

        Biases begin at zero, but for the transform gates'.
        """
        initialise(self, self.config.activation, self.config.transform_bias)

    def init_head(self, head: nn.Linear) -> None:
        """Draw it as Glorot and Bengio do."""
        draw(head, 1.0)


class Highway(Classifier):
    """Stages of a plain and then highway convolutions, with max pools between them, and a hidden layer."""

    gate_names = ("transform_gate",)
    head_name = "output"
    stem_name = "stage1.0.transform"
    config: HighwayConfig

    def __init__(self, config: HighwayConfig) -> None:
        super().__init__(config)
        channels = config.in_chans
        for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True), 1):
            layers = nn.Sequential()
            for kernel in islice(cycle(config.kernels), depth):
                transform = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
                if len(layers) == 0:
                    layers.append(PlainLayer(transform, "relu"))
                else:
                    gate = nn.Conv2d(width, width, kernel, padding=kernel // 2)
                    layers.append(HighwayLayer(transform, gate, "relu"))
                channels = width
            self.add_module(f"stage{stage}", layers)
        self.stage_names = tuple(f"stage{stage}" for stage, _ in enumerate(config.widths, 1))
        least = 2 ** (len(config.widths) - 1)
        self.min_size = (least, least)
        self.num_features = config.units
        self.hidden = nn.Conv2d(channels, config.units, 1)
        self.output = linear_head(config.units, config.num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's maps, `(N, widths[-1], H / 4, W / 4)` with three stages."""
        for stage in self.stage_names:
            if stage != self.stage_names[0]:
                x = F.max_pool2d(x, 2)
            x = self.get_submodule(stage)(F.dropout(x, self.config.dropout, self.training))
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the hidden layer `(N, units)`."""
        x = features if self.config.pool == "average" else features.amax(dim=(2, 3), keepdim=True)
        x = F.relu(self.hidden(x)).mean(dim=(2, 3))
        if pre_logits:
            return x
        logits: Tensor = self.output(F.dropout(x, self.config.dropout, self.training))
        return logits

    def init_weights(self) -> None:
        """Draw weights with the variance 1 / fan_in, as "xavier" in the authors' code does; their output has 0.05².

        Biases begin at zero, but for the transform gates'.
        """
        initialise(self, "tanh", self.config.transform_bias)
        if isinstance(self.output, nn.Linear):
            self.init_head(self.output)

    def init_head(self, head: nn.Linear) -> None:
        """Draw it from a normal distribution with a standard deviation of 0.05."""
        draw_normal(head, std=0.05)


def draw(layer: nn.Linear | nn.Conv2d, gain: float) -> None:
    """Draw weights uniformly with the variance gain² / fan_in, and set biases to zero."""
    bound = gain * (3 / layer.weight[0].numel()) ** 0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def initialise(network: nn.Module, activation: Nonlinearity, transform_bias: float) -> None:
    """Draw all weights of a network, and set its transform gates' biases."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            draw(module, 2**0.5 if activation == "relu" and path.endswith("transform") else 1.0)
            if path.endswith("transform_gate") and module.bias is not None:
                nn.init.constant_(module.bias, transform_bias)


def build(config: HighwayMLPConfig | HighwayConfig) -> Classifier:
    """Return the network of a config of either kind."""
    return HighwayMLP(config) if isinstance(config, HighwayMLPConfig) else Highway(config)


NETWORK = build
CONFIGS: dict[str, HighwayMLPConfig | HighwayConfig] = {
    # Section 3.1: "50 blocks" or 71 plain units make some 5000 parameters a layer.
    **{f"highway_mlp_{layers}": HighwayMLPConfig(layers=layers) for layers in (10, 20, 50, 100)},
    **{f"plain_mlp_{layers}": HighwayMLPConfig(layers=layers, gated=False, width=71) for layers in (10, 20, 50, 100)},
    # Table 2: the widths are those of FitNets 1 and 4, of which the authors' code takes one a stage. The hidden layer's
    # 256 units are chosen: with them A has the parameters of the table.
    "highway_a": HighwayConfig(widths=(16, 32, 64), depths=(3, 3, 3)),
    "highway_b": HighwayConfig(widths=(32, 80, 128), depths=(5, 6, 6)),
    # Its 32 layers alternate between 3x3 and 1x1 filters. The widths are chosen for the parameters of the table.
    "highway_c": HighwayConfig(widths=(32, 64, 96), depths=(10, 10, 10), kernels=(3, 1)),
    # Table 3, as in the authors' code.
    "highway_19": HighwayConfig(widths=(32, 80, 128), depths=(5, 6, 6), units=100, pool="average", dropout=0.2),
}
