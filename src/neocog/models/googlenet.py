"""GoogLeNet (Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842), which won ILSVRC 2014.

Each module looks at its input at several scales at once, and 1x1 convolutions shrink it before the costly ones (figure
2): 22 layers with a ninth of AlexNet's parameters ("12 times fewer", the paper says). The mean over positions replaces
fully connected layers, and two auxiliary classifiers bring gradients to the middle while training.

Parameters are named as in torchvision, whose file loads as it is. timm has no GoogLeNet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.branches import Concatenate, ConvBnReLU, around
from neocog.layers.norm import LocalResponseNorm
from neocog.models._classifier import AuxiliaryHead, ModelConfig, linear_head
from neocog.models._pooled import PooledClassifier

TABLE_1 = {
    # module: filters of the 1x1, of the 3x3's reduction, the 3x3, the 5x5's reduction, the 5x5, the pool's projection
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True, kw_only=True)
class GoogLeNetConfig(ModelConfig):
    """What the published network and torchvision's differ in; the defaults are the published ones.

    Attributes:
        norm: "local_response" after the first pool and before the second (figure 3), with biases in convolutions;
            "batch" after every convolution, as Ioffe and Szegedy introduced it a year later.
        largest_kernel: of each module's third branch.
        last_pool: width of the fourth pool, before the two last modules.
        dropout: share of the pooled features that training drops (table 1).
        auxiliary: build the two auxiliary classifiers (section 5), 3.2 M parameters each.
    """

    norm: Literal["local_response", "batch"] = "local_response"
    largest_kernel: int = 5
    last_pool: int = 3
    dropout: float = 0.4
    auxiliary: bool = False

    def __post_init__(self) -> None:
        """Refuse windows that would not keep the size of the map, and a dropout that is no share."""
        super().__post_init__()
        if self.largest_kernel < 1 or self.largest_kernel % 2 == 0:
            raise UsageError(f"largest_kernel is an odd number of pixels, such as 5; not {self.largest_kernel}")
        if self.last_pool not in (2, 3):
            raise UsageError(f"last_pool is 2 or 3 pixels wide, not {self.last_pool}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share of at least 0 and below 1, not {self.dropout}")


class ConvReLU(nn.Module):
    """A convolution with a bias, and ReLU (section 5). Its padding keeps the size at stride 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, around(kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated maps."""
        return F.relu(self.conv(x))


Convolution = type[ConvReLU] | type[ConvBnReLU]
CONVOLUTIONS: dict[str, Convolution] = {"local_response": ConvReLU, "batch": ConvBnReLU}


class NaiveInception(Concatenate):
    """Figure 2(a): convolutions of three sizes and a max pool side by side, which would widen every map it is given.

    No network is made of it.

    Shapes: `(N, in_channels, H, W)` to `(N, sum(filters) + in_channels, H, W)`.
    """

    def __init__(self, in_channels: int, filters: tuple[int, int, int], conv: Convolution = ConvReLU) -> None:
        super().__init__(
            branch1=conv(in_channels, filters[0], 1),
            branch2=conv(in_channels, filters[1], 3),
            branch3=conv(in_channels, filters[2], 5),
            branch4=nn.MaxPool2d(3, stride=1, padding=1),
        )


class Inception(Concatenate):
    """Figure 2(b): the same, but 1x1 convolutions reduce what the larger ones see and what the pool passes on.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H, W)`.

    Args:
        in_channels: channels of the input.
        row: a row of `TABLE_1`.
        conv: what a convolution is.
        largest_kernel: of the third branch. Deviation: in torchvision it is 3.
    """

    def __init__(
        self,
        in_channels: int,
        row: tuple[int, int, int, int, int, int],
        conv: Convolution = ConvReLU,
        largest_kernel: int = 5,
    ) -> None:
        one, three_reduce, three, five_reduce, five, projection = row
        super().__init__(
            branch1=conv(in_channels, one, 1),
            branch2=nn.Sequential(conv(in_channels, three_reduce, 1), conv(three_reduce, three, 3)),
            branch3=nn.Sequential(conv(in_channels, five_reduce, 1), conv(five_reduce, five, largest_kernel)),
            branch4=nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(in_channels, projection, 1)),
        )
        self.out_channels = one + three + five + projection


class AuxiliaryClassifier(AuxiliaryHead):
    """Section 5's side network on 4a and on 4d: an average pool, a 1x1 convolution and two fully connected layers.

    Shapes: `(N, in_channels, H, W)` to `(N, num_classes)`.
    """

    head_name = "fc2"
    num_features = 1024

    def __init__(self, in_channels: int, num_classes: int, conv: Convolution) -> None:
        super().__init__()
        self.conv = conv(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, self.num_features)
        self.fc2 = linear_head(self.num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        if isinstance(self.conv, ConvReLU) and x.shape[-2:] == (14, 14):
            x = F.avg_pool2d(x, 5, stride=3)
        else:  # torchvision's: windows whose size follows the map's, and any map will do
            x = F.adaptive_avg_pool2d(x, 4)
        x = F.relu(self.fc1(self.conv(x).flatten(1)))
        logits: Tensor = self.fc2(F.dropout(x, 0.7, self.training))
        return logits

    def init_head(self, head: nn.Linear) -> None:
        """Initialise it as the network's own head."""
        init_layer(head, batch_norm=isinstance(self.conv, ConvBnReLU))


class GoogLeNet(PooledClassifier):
    """Table 1 and figure 3. At 224x224 the modules see maps of 28x28, 14x14 and 7x7: every pool rounds up."""

    stem_name = "conv1.conv"
    stage_names = ("conv1", "conv3", "inception3b", "inception4e", "inception5b")
    auxiliary_names = {"inception4a": "aux1", "inception4d": "aux2"}
    config: GoogLeNetConfig

    def __init__(self, config: GoogLeNetConfig) -> None:
        super().__init__(config)
        conv, published = CONVOLUTIONS[config.norm], config.norm == "local_response"
        self.conv1 = conv(config.in_chans, 64, 7, stride=2)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        # The paper says nothing of the norm's constants; these are AlexNet's.
        self.norm1 = LocalResponseNorm() if published else nn.Identity()
        self.conv2 = conv(64, 64, 1)
        self.conv3 = conv(64, 192, 3)
        self.norm2 = LocalResponseNorm() if published else nn.Identity()
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)

        channels = {"inception2": 192}
        for name, row in TABLE_1.items():
            module = Inception(list(channels.values())[-1], row, conv, config.largest_kernel)
            channels[name] = module.out_channels
            self.add_module(name, module)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(config.last_pool, stride=2, ceil_mode=True)  # deviation: torchvision's is 2x2
        if config.auxiliary:
            for stage, name in self.auxiliary_names.items():
                self.add_module(name, AuxiliaryClassifier(channels[stage], config.num_classes, conv))

        self.num_features = channels["inception5b"]
        self.min_size = (31, 31) if config.last_pool == 3 else (15, 15)
        self.fc = linear_head(self.num_features, config.num_classes)
        self.head_dropout = config.dropout

    def forward_features(self, x: Tensor) -> Tensor:
        """Return 5b's output `(N, 1024, h, w)`, 7x7 for an image of 224x224."""
        x = self.norm1(self.maxpool1(self.conv1(x)))
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))
        for name in TABLE_1:
            x = self.get_submodule(name)(x)
            if name == "inception3b":
                x = self.maxpool3(x)
            elif name == "inception4e":
                x = self.maxpool4(x)
        return x

    def init_weights(self) -> None:
        """Initialise as others who trained it, since the paper does not say.

        Without batch norm as Caffe's replica: weights uniform with variance 1 / fan_in ("xavier"), biases 0.2 so that
        no ReLU begins dead, and 0 for the logits. With it as torchvision: normal with standard deviation 0.01.
        """
        batch_norm = self.config.norm == "batch"
        heads = [self.fc, *(head.get_submodule(head.head_name) for head in self.auxiliary_heads.values())]
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                init_layer(module, batch_norm=batch_norm, bias=0.0 if module in heads else 0.2)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()

    def init_head(self, head: nn.Linear) -> None:
        """Draw it as every other layer, with biases of 0."""
        init_layer(head, batch_norm=self.config.norm == "batch")


def init_layer(layer: nn.Conv2d | nn.Linear, *, batch_norm: bool, bias: float = 0.0) -> None:
    """Draw a layer's weights, and fill its biases; torchvision leaves its few biases to torch."""
    if batch_norm:
        layer.reset_parameters()
        nn.init.normal_(layer.weight, std=0.01)
        return
    bound = (3 / layer.weight[0].numel()) ** 0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


PUBLISHED = GoogLeNetConfig()

NETWORK = GoogLeNet
CONFIGS = {
    "googlenet_2014": PUBLISHED,
    "googlenet": replace(PUBLISHED, norm="batch", largest_kernel=3, last_pool=2, dropout=0.2),
}
