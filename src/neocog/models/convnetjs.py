"""ConvNetJS CIFAR-10 demo, a network that learns in the reader's browser (Karpathy 2014).

cs.stanford.edu/people/karpathy/convnetjs/demo/cifar10.html: three layers of 5x5 convolutions, rectified and pooled, and
a softmax. It was many a student's first convolutional network, since one sees every filter and every map change as it
learns; 22,466 parameters and no library are enough for about 80 % of CIFAR-10.

Its layers have no names in the author's JavaScript; here they are numbered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import Classifier, ModelConfig, linear_head

POOL = 2


@dataclass(frozen=True, kw_only=True)
class ConvNetJSConfig(ModelConfig):
    """The demo's `layer_defs`, which the reader of the page may change.

    Attributes:
        filters: of each layer's convolution.
        kernel_size: side of the filters, `sx`; odd, and padded so that the resolution stays.
        image_size: side of the images, `out_sx` of the input, which the last layer's weights depend on.
    """

    num_classes: int = 10
    filters: tuple[int, ...] = (16, 20, 20)
    kernel_size: int = 5
    image_size: int = 32

    def __post_init__(self) -> None:
        """Refuse layers without filters, filters without a middle, and images that pooling would use up."""
        super().__post_init__()
        if not self.filters or min(self.filters) < 1:
            raise UsageError(f"filters are those of each layer, at least 1 in each; not {self.filters}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise UsageError(f"kernel_size is the side of the filters, odd and at least 1; not {self.kernel_size}")
        least = POOL ** len(self.filters)
        if self.image_size < least:
            raise UsageError(f"{len(self.filters)} pools need an image_size of at least {least}, not {self.image_size}")


def layer(in_channels: int, filters: int, kernel_size: int) -> nn.Sequential:
    """Return a convolution, a max pool and a ReLU.

    Deviation without effect: the demo rectifies before it pools. The two commute, and here the ReLU has a quarter of
    the work.

    Shapes: `(N, in_channels, H, W)` to `(N, filters, floor(H / 2), floor(W / 2))`.
    """
    conv = nn.Conv2d(in_channels, filters, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(OrderedDict(conv=conv, pool=nn.MaxPool2d(POOL), relu=nn.ReLU()))


class ConvNetJS(Classifier):
    """Layers of convolution, ReLU and pool, and a linear layer over all that they leave."""

    stem_name = "layer1.conv"
    config: ConvNetJSConfig

    def __init__(self, config: ConvNetJSConfig) -> None:
        super().__init__(config)
        channels, side = config.in_chans, config.image_size
        for number, filters in enumerate(config.filters, 1):
            self.add_module(f"layer{number}", layer(channels, filters, config.kernel_size))
            channels, side = filters, side // POOL
        self.stage_names = tuple(f"layer{number}" for number, _ in enumerate(config.filters, 1))
        self.num_features = channels * side * side
        self.fc = linear_head(self.num_features, config.num_classes)
        self.min_size = (config.image_size, config.image_size)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last layer's maps `(N, C, h, w)`: 20 of 4x4 pixels."""
        for stage in self.stage_names:
            x = self.get_submodule(stage)(x)
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, num_classes)`, or with `pre_logits` all values of the maps `(N, num_features)`."""
        flat = features.flatten(1)
        if pre_logits:
            return flat
        logits: Tensor = self.fc(flat)
        return logits

    def check_input(self, x: Tensor) -> None:
        """Raise `UsageError` for images of another size than the config's, or with other channels."""
        super().check_input(x)
        if x.shape[-2:] != self.min_size:
            height, width = self.min_size
            raise UsageError(
                f"this ConvNetJS takes images of {height}x{width}, not {x.shape[-2]}x{x.shape[-1]}; resize them, or "
                "build it with another image_size"
            )

    def init_weights(self) -> None:
        """Initialise as the demo: weights of variance 1 / fan_in, biases of 0.1 where a ReLU follows, else of 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
                if module.bias is not None:
                    nn.init.constant_(module.bias, 0.1)
        if isinstance(self.fc, nn.Linear):
            self.init_head(self.fc)

    def init_head(self, head: nn.Linear) -> None:
        """Draw the head's weights with variance 1 / fan_in, and set its bias to zero."""
        nn.init.normal_(head.weight, std=head.in_features**-0.5)
        nn.init.zeros_(head.bias)


NETWORK = ConvNetJS
CONFIGS = {"convnetjs": ConvNetJSConfig()}
