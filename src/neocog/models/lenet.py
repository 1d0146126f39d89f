"""LeNet-5 (LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition").

Features are learned, not designed: the same small filters slide over the whole image (weight sharing), maps lose
resolution as they gain in number, and one gradient descends through all of it, from the pixels to the ten digits.
Section II.B and figure 2; the layers bear the paper's names, C for convolution, S for subsampling, F for full.

Two networks go by that name. They differ in four places, each a field of the config: `lenet5_1998` is the published
one, of 60,000 trainable parameters; `lenet5` is what is taught since, with 61,706.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.activation import scaled_tanh
from neocog.models._classifier import Classifier, ModelConfig, linear_head

IMAGE_SIZE = 32

TABLE_I = (
    # for each of C3's 16 maps, the maps of S2 that it sees: all contiguous threes, all contiguous fours, ...
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),  # ... three fours with a gap,
    (0, 1, 2, 3, 4, 5),  # and one that sees everything
)

FIGURE_3 = """
.#####. ...#... .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
##...## ..##... ##...## ##...## ...###. ##..... .##.... ##...## ##...## ##...##
##...## .###... .....## .....## ...###. ##..... ##..... .....## ##...## ##...##
##...## ####... .....## .....## ..####. ##..... ##..... ....##. ##...## ##...##
##...## ..##... ....##. ....##. ..#.##. ######. ##.###. ....##. ##...## ##...##
##...## ..##... ...##.. ..###.. .##.##. ##...## ###..## ...##.. .#####. .######
##...## ..##... ..##... ....##. .#..##. .....## ##...## ...##.. ##...## .....##
##...## ..##... .##.... .....## ##..##. .....## ##...## ..##... ##...## .....##
##...## ..##... ##..... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ..##... ##..... ##...## ....##. .....## ##...## .##.... ##...## .....##
##...## ..##... ##...## ##...## ....##. ##...## ##...## .##.... ##...## ....##.
.#####. ####### ####### .#####. ....##. .#####. .#####. .##.... .#####. .####..
"""
"""The digits on 7x12 pixels, 84 in all. Deviation: drawn anew in the manner of figure 3, not its very pixels."""


@dataclass(frozen=True, kw_only=True)
class LeNet5Config(ModelConfig):
    """What the published network and the taught one differ in; the defaults are the published ones.

    Attributes:
        activation: of C1 to F6: "scaled_tanh" is 1.7159 tanh(2/3 a) (equation 6 and appendix A).
        connections: whether C3 sees the maps of S2 that "table_1" lists, or all of them ("full").
        subsampling: "trainable" is a coefficient and a bias for each map's sums of 2x2 (S2, S4); "average" is their
            mean, without parameters or activation.
        output: "rbf" measures how far F6 is from a fixed picture of each class (equation 7); "linear" learns it.
    """

    num_classes: int = 10
    in_chans: int = 1
    activation: Literal["scaled_tanh", "tanh", "relu"] = "scaled_tanh"
    connections: Literal["table_1", "full"] = "table_1"
    subsampling: Literal["trainable", "average"] = "trainable"
    output: Literal["rbf", "linear"] = "rbf"


Squash = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Squash] = {"scaled_tanh": scaled_tanh, "tanh": torch.tanh, "relu": F.relu}


class Subsampling(nn.Module):
    """S2 and S4: each map's sums over 2x2 pixels, times a trainable coefficient, plus a trainable bias, squashed.

    Shapes: `(N, channels, H, W)` to `(N, channels, H / 2, W / 2)`.
    """

    def __init__(self, channels: int, squash: Squash) -> None:
        super().__init__()
        self.squash = squash
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the subsampled maps."""
        return self.squash(F.avg_pool2d(x, 2, divisor_override=1) * self.weight + self.bias)


class PartialConvolution(nn.Module):
    """C3: 5x5 convolutions, each of those maps of S2 that table I lists for it, which breaks their symmetry.

    One convolution of all maps, with zeros where table I has no connection, takes a third of the time of three that
    leave them out.

    Shapes: `(N, 6, H, W)` to `(N, 16, H - 4, W - 4)`.
    """

    inputs: Tensor
    to_map: Tensor
    from_map: Tensor

    def __init__(self) -> None:
        super().__init__()
        connections = torch.tensor([(to, source) for to, maps in enumerate(TABLE_I) for source in maps])
        inputs = torch.tensor([25 * len(maps) for maps in TABLE_I])
        self.register_buffer("inputs", inputs, persistent=False)
        self.register_buffer("to_map", connections[:, 0], persistent=False)
        self.register_buffer("from_map", connections[:, 1], persistent=False)
        self.weight = nn.Parameter(torch.zeros(len(connections), 5, 5))
        self.bias = nn.Parameter(torch.zeros(len(TABLE_I)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the 16 maps."""
        filters = self.weight.new_zeros(len(TABLE_I), 6, 5, 5)
        filters = filters.index_put((self.to_map, self.from_map), self.weight)
        return F.conv2d(x, filters, self.bias)


class RadialBasisOutput(nn.Module):
    """Equation 7: the squared distance between F6 and the picture of each class, here with a minus before it.

    So the likeliest class has the greatest output, as with any other network, and cross entropy over these outputs
    is the paper's criterion (equation 9) without its constant "rubbish" class e^-j.

    Shapes: `(N, 84)` to `(N, num_classes)`.
    """

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", class_codes(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return minus the squared distances."""
        return -(x[:, None] - self.codes).square().sum(dim=2)


def class_codes(num_classes: int) -> Tensor:
    """Return what F6 should look like for each class: `(num_classes, 84)` of -1 and +1.

    Ten classes are the digits of figure 3. Deviation: for any other number the codes are drawn at random, the same
    ones every time; the paper draws all of printable ASCII.
    """
    if num_classes == 10:
        rows = [row.split() for row in FIGURE_3.split("\n") if row]
        pictures = ["".join(row[digit] for row in rows) for digit in range(10)]
        return torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in picture] for picture in pictures])
    generator = torch.Generator("cpu").manual_seed(1998)
    bits = torch.randint(0, 2, (num_classes, 84), generator=generator, device="cpu")
    return torch.as_tensor(bits.tolist()) * 2.0 - 1.0


class LeNet5(Classifier):
    """Figure 2: an image of 32x32 to 6, 16 and 120 maps, 84 units, and the classes."""

    head_name = "output"
    stem_name = "c1"
    num_features = 84
    stage_names = ("c1", "s2", "c3", "s4", "c5")
    min_size = (IMAGE_SIZE, IMAGE_SIZE)
    config: LeNet5Config

    def __init__(self, config: LeNet5Config) -> None:
        super().__init__(config)
        trainable = config.subsampling == "trainable"
        self.squash = ACTIVATIONS[config.activation]
        self.c1 = nn.Conv2d(config.in_chans, 6, 5)
        self.s2 = Subsampling(6, self.squash) if trainable else nn.AvgPool2d(2)
        self.c3 = PartialConvolution() if config.connections == "table_1" else nn.Conv2d(6, 16, 5)
        self.s4 = Subsampling(16, self.squash) if trainable else nn.AvgPool2d(2)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = self._output(config.num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return C5's 120 maps of one pixel, `(N, 120, 1, 1)`."""
        x = self.s2(self.squash(self.c1(x)))
        x = self.s4(self.squash(self.c3(x)))
        return self.squash(self.c5(x))

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return outputs `(N, num_classes)`, or with `pre_logits` F6's `(N, 84)`."""
        x = self.squash(self.f6(features.flatten(1)))
        return x if pre_logits else self.output(x)

    def init_weights(self) -> None:
        """Draw every weight and bias uniformly within ±2.4 / F, with F the inputs of its unit (appendix A).

        That suits the scaled tanh. Weights of the other activations are drawn as Glorot and Bengio (2010) do.
        """
        for module in self.modules():
            if isinstance(module, Subsampling):
                draw(module.weight, inputs=4)
                draw(module.bias, inputs=4)
            elif isinstance(module, PartialConvolution):
                draw(module.weight, inputs=module.inputs[module.to_map].view(-1, 1, 1))
                draw(module.bias, inputs=module.inputs)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """Draw it as every other layer."""
        if self.config.activation == "scaled_tanh":
            draw(head.weight, inputs=head.weight[0].numel())
            draw(head.bias, inputs=head.weight[0].numel())
        else:
            nn.init.xavier_uniform_(head.weight)
            draw(head.bias, inputs=head.weight[0].numel())

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the output by a fresh one; where it is "rbf", by the pictures of as many classes."""
        if self.config.output == "linear":
            super().reset_classifier(num_classes)
        else:
            self.config = replace(self.config, num_classes=num_classes)
            self.output = self._output(num_classes).to(self.f6.weight)

    def check_input(self, x: Tensor) -> None:
        """Raise `UsageError` for anything but images of 32x32 with as many channels as were asked for."""
        super().check_input(x)
        if x.shape[-2:] != self.min_size:
            raise UsageError(f"LeNet-5 takes images of 32x32, not {x.shape[-2]}x{x.shape[-1]}; resize them")

    def _output(self, num_classes: int) -> nn.Module:
        if num_classes and self.config.output == "rbf":
            return RadialBasisOutput(num_classes)
        return linear_head(self.num_features, num_classes)


def draw(parameter: Tensor | None, inputs: int | Tensor) -> None:
    """Fill a layer's weights or biases with numbers drawn uniformly within ±2.4 / inputs."""
    if parameter is not None:
        with torch.no_grad():
            parameter.uniform_(-2.4, 2.4).div_(inputs)


NETWORK = LeNet5
CONFIGS = {
    "lenet5_1998": LeNet5Config(),
    "lenet5": LeNet5Config(activation="tanh", connections="full", subsampling="average", output="linear"),
}
