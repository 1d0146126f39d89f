"""A linear classifier (Rosenblatt 1958) and the multilayer perceptron (Rumelhart, Hinton and Williams 1986).

"The perceptron: a probabilistic model for information storage and organization in the brain" (1958) weighs all pixels
at once, so that each class has one template as large as the image; "Learning representations by back-propagating
errors" (1986) puts layers of learned features between. Neither knows which pixels are neighbours: what convolution adds
is measured against these two. Logits go through a softmax, so that the linear one is multinomial logistic regression
(deviation: in 1958 a unit is on or off, and learns from its errors alone).

A layer that sees pixels keeps its weights in the shape of images, to be looked at (`neocog templates`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import Classifier, ModelConfig, linear_head


@dataclass(frozen=True, kw_only=True)
class PerceptronConfig(ModelConfig):
    """The layers between pixels and logits.

    Attributes:
        image_size: sides of the images, which are all of one size.
        hidden: units of each hidden layer; none at all for the linear classifier.
    """

    num_classes: int = 10
    in_chans: int = 3
    image_size: int = 32
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse layers without units and images without pixels."""
        super().__post_init__()
        if self.image_size < 1:
            raise UsageError(f"image_size is at least 1, not {self.image_size}")
        if any(units < 1 for units in self.hidden):
            raise UsageError(f"hidden layers have at least 1 unit each, not {self.hidden}")


class Templates(nn.Module):
    """A linear layer of all pixels, whose weights are images: `(N, C, H, W)` to `(N, units)`.

    "32x32x3 image, stretched to 3072 x 1": the same numbers as a linear layer of the stretched image.

    Args:
        units: outputs.
        channels: of the images.
        size: their sides.
    """

    def __init__(self, units: int, channels: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(units, channels, size, size))
        self.bias = nn.Parameter(torch.empty(units))
        self.init_weights()

    def init_weights(self) -> None:
        """Draw weights and biases uniformly within 1 / sqrt(pixels), as torch draws those of a linear layer."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return how well each image fits each template."""
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)


class _OfOneSize(Classifier):
    """What both have in common: images of one size, because each pixel has weights of its own."""

    config: PerceptronConfig

    def __init__(self, config: PerceptronConfig) -> None:
        super().__init__(config)
        self.min_size = (config.image_size, config.image_size)

    def init_weights(self) -> None:
        """Draw every layer uniformly within 1 / sqrt(inputs), as torch draws linear layers."""
        for module in self.modules():
            if isinstance(module, Templates):
                module.init_weights()
            elif isinstance(module, nn.Linear):
                module.reset_parameters()

    def check_input(self, x: Tensor) -> None:
        """Raise `UsageError` for anything but images of the size that the weights were made for."""
        super().check_input(x)
        size, (height, width) = self.config.image_size, x.shape[-2:]
        if (height, width) != self.min_size:
            raise UsageError(
                f"this {type(self).__name__} takes images of {size}x{size}, not {height}x{width}; resize them"
            )


class LinearClassifier(_OfOneSize):
    """One template a class, and the class whose template fits best."""

    stem_name = "fc"
    stage_names = ()

    def __init__(self, config: PerceptronConfig) -> None:
        super().__init__(config)
        self.num_features = config.in_chans * config.image_size**2
        self.fc = self._head()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the pixels `(N, C * H * W)`."""
        return x.flatten(1)

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the pixels."""
        return features if pre_logits else self.fc(features)

    def init_weights(self) -> None:
        """Begin at zero: the loss has one minimum, and templates then show nothing but what was learned."""
        for parameter in self.fc.parameters():
            nn.init.zeros_(parameter)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the templates, which are all there is, by fresh ones."""
        weight = next(self.parameters(), None)
        self.config = replace(self.config, num_classes=num_classes)
        self.fc = self._head()
        self.init_weights()
        if weight is not None:
            self.fc.to(weight.device, weight.dtype)

    def _head(self) -> nn.Module:
        config = self.config
        return (
            Templates(config.num_classes, config.in_chans, config.image_size) if config.num_classes else nn.Identity()
        )


class MultilayerPerceptron(_OfOneSize):
    """Layers of units that see all of the layer before, with ReLU (deviation: 1986 has the logistic function)."""

    stem_name = "hidden.0"

    def __init__(self, config: PerceptronConfig) -> None:
        super().__init__(config)
        self.hidden = nn.ModuleList([Templates(config.hidden[0], config.in_chans, config.image_size)])
        self.hidden.extend(nn.Linear(inputs, units) for inputs, units in pairwise(config.hidden))
        self.stage_names = tuple(f"hidden.{number}" for number in range(len(config.hidden)))
        self.num_features = config.hidden[-1]
        self.fc = linear_head(self.num_features, config.num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer's units `(N, num_features)`."""
        for layer in self.hidden:
            x = F.relu(layer(x))
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` the units that give them."""
        return features if pre_logits else self.fc(features)


def perceptron(config: PerceptronConfig) -> Classifier:
    """Return the network of `config`: linear where no layer is hidden."""
    return MultilayerPerceptron(config) if config.hidden else LinearClassifier(config)


NETWORK = perceptron
CONFIGS = {
    "linear_cifar10": PerceptronConfig(),
    "linear_mnist": PerceptronConfig(in_chans=1, image_size=28),
    "mlp_cifar10": PerceptronConfig(hidden=(512, 256)),
    "mlp_mnist": PerceptronConfig(in_chans=1, image_size=28, hidden=(300, 100)),
}
