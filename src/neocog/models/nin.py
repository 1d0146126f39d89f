"""Network in Network (Lin, Chen and Yan 2013, "Network in network", arXiv:1312.4400).

Where a convolution slides a linear filter over the image, an mlpconv layer slides a small multilayer perceptron: the
convolution's maps go through two 1x1 convolutions, all of them rectified (section 3.1). The last gives one map a class,
whose mean is the class's score: global average pooling in place of fully-connected layers (section 3.2).

The paper prints no sizes. These are the authors' Caffe definitions, gist.github.com/mavenlin e56253735ef32c3c296d
(CIFAR-10) and d802a5849de39225bcc6 (ImageNet), whose word for a 1x1 convolution is cccp, "cascaded cross channel
parametric pooling".
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.models._classifier import Classifier, ModelConfig
from neocog.models._draw import draw_normal

Pool = Literal["max", "average"]


@dataclass(frozen=True, kw_only=True)
class NINConfig(ModelConfig):
    """One of the authors' definitions. Each field but `stride` has a value for each mlpconv layer, or for each pool.

    Attributes:
        kernels: sides of the convolutions' filters. They are padded so that the resolution stays, but for a first
            convolution that has a stride, which is not padded.
        stride: of the first convolution.
        widths: maps of the convolution, of the first 1x1 and of the second; the last layer's second is the classifier.
        pools: what stands between two layers, 3x3 with a stride of 2.
        dropouts: share of values that training leaves out after each pool.
        init_std: standard deviations with which the convolutions are drawn, and at the end the classifier.
    """

    kernels: tuple[int, ...]
    stride: int = 1
    widths: tuple[tuple[int, ...], ...]
    pools: tuple[Pool, ...]
    dropouts: tuple[float, ...]
    init_std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse layers without filters, and fields of different lengths."""
        super().__post_init__()
        layers = len(self.kernels)
        lengths = [len(self.widths), len(self.pools) + 1, len(self.dropouts) + 1, len(self.init_std) - 1]
        if layers < 1 or any(length != layers for length in lengths):
            raise UsageError(
                f"{layers} kernels need as many widths, a pool and a dropout between two layers, and an init_std for "
                f"each convolution and the classifier; not {lengths[0]}, {lengths[1] - 1}, {lengths[2] - 1} and "
                f"{lengths[3] + 1}"
            )
        padded = self.kernels if self.stride == 1 else self.kernels[1:]
        if min(self.kernels) < 1 or self.stride < 1 or any(kernel % 2 == 0 for kernel in padded):
            raise UsageError(f"kernels are at least 1 and odd, strides at least 1; not {self.kernels}, {self.stride}")
        counts = [len(widths) for widths in self.widths]
        if counts != [3] * (layers - 1) + [2] or min(map(min, self.widths)) < 1:
            raise UsageError(
                f"widths are three numbers of maps a layer, in the last two, at least 1; not {self.widths}"
            )
        if any(not 0 <= share < 1 for share in self.dropouts) or min(self.init_std) < 0:
            raise UsageError(f"dropouts are shares, and init_std not negative; not {self.dropouts}, {self.init_std}")


def mlpconv(convolution: nn.Conv2d, widths: tuple[int, ...], pool: Pool | None, dropout: float) -> nn.Sequential:
    """Return an mlpconv layer (equation 2 and figure 1b) and what stands between it and the next.

    Deviation without effect: a max pool stands before the last rectification, with which it commutes and which then has
    a quarter of the work. Pools count windows that reach over the border, as Caffe's do.

    Shapes: `(N, in_channels, H, W)` to `(N, widths[-1], h, w)`, with a pool `ceil((h - 1) / 2) x ceil((w - 1) / 2)`.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=convolution, relu=nn.ReLU())
    channels = convolution.out_channels
    for number, width in enumerate(widths, 1):
        layers[f"cccp{number}"] = nn.Conv2d(channels, width, 1)
        if number == len(widths) and pool == "max":
            layers["pool"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        layers[f"relu{number}"] = nn.ReLU()
        channels = width
    if pool == "average":
        layers["pool"] = nn.AvgPool2d(3, stride=2, ceil_mode=True)
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(layers)


class NIN(Classifier):
    """Figure 2: mlpconv layers, of which the last one's last 1x1 gives a map for each class, and their means."""

    head_name = "classifier"
    stem_name = "mlpconv1.conv"
    config: NINConfig

    def __init__(self, config: NINConfig) -> None:
        super().__init__(config)
        channels = config.in_chans
        between = [*zip(config.pools, config.dropouts, strict=True), (None, 0.0)]
        self.layer_names = tuple(f"mlpconv{number}" for number, _ in enumerate(config.kernels, 1))
        for number, name in enumerate(self.layer_names):
            kernel, stride = config.kernels[number], config.stride if number == 0 else 1
            (width, *cccp), (pool, dropout) = config.widths[number], between[number]
            convolution = nn.Conv2d(channels, width, kernel, stride, padding=0 if stride > 1 else kernel // 2)
            self.add_module(name, mlpconv(convolution, tuple(cccp), pool, dropout))
            channels = cccp[-1]
        self.num_features = channels
        self.classifier = class_maps(channels, config.num_classes)

        *pooled, last = self.layer_names
        changes = not pooled or config.widths[-1][-1] != config.widths[-2][-1]
        self.stage_names = (*pooled, last) if changes else (*pooled[:-1], last)
        least = (2 ** len(pooled) - 1) * config.stride + config.kernels[0]  # the last pool takes two positions or more
        least -= 0 if config.stride > 1 else config.kernels[0] // 2 * 2
        self.min_size = (least, least)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return what the last 1x1 convolution is given, `(N, num_features, h, w)`."""
        for name in self.layer_names:
            x = self.get_submodule(name)(x)
        return x

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return the classes' means `(N, num_classes)`, or with `pre_logits` the features' `(N, num_features)`.

        The classes' maps are rectified as all others, so that no score is negative.
        """
        if pre_logits:
            return features.mean(dim=(2, 3))
        return F.relu(self.classifier(features)).mean(dim=(2, 3))

    def init_weights(self) -> None:
        """Draw weights from a normal distribution of the authors' deviations; biases but the classes' are zero.

        Each convolution's, and the classifier's, is the config's; that of the other 1x1 convolutions is 0.05.
        """
        stds = dict(zip(self.layer_names, self.config.init_std, strict=False))
        for path, module in self.named_modules():
            layer, _, part = path.partition(".")
            if isinstance(module, nn.Conv2d):
                draw_normal(module, stds[layer] if part == "conv" else 0.05)
        if isinstance(self.classifier, nn.Conv2d):
            self.init_head(self.classifier)

    def init_head(self, head: nn.Conv2d | nn.Linear) -> None:
        """Draw the classifier's weights, and let its biases begin at 1.

        Deviation: the authors' begin at zero. A class whose map falls below zero at every pixel of every image is
        rectified to nothing, learns nothing more, and is never answered: with zeros, five of scikit-learn's ten
        digits ended so in a training of six epochs.
        """
        draw_normal(head, self.config.init_std[-1])
        if head.bias is not None:
            nn.init.ones_(head.bias)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last 1x1 convolution by a fresh one with a map for each of `num_classes`; 0 removes it."""
        self.config = replace(self.config, num_classes=num_classes)
        head = class_maps(self.num_features, num_classes)
        if isinstance(head, nn.Conv2d):
            self.init_head(head)
        weight = next(self.parameters())
        self.classifier = head.to(weight.device, weight.dtype)


def class_maps(channels: int, num_classes: int) -> nn.Conv2d | nn.Identity:
    """Return the convolution that gives a map for each class; for 0 of them, the identity."""
    return nn.Conv2d(channels, num_classes, 1) if num_classes else nn.Identity()


NETWORK = NIN
CONFIGS = {
    "nin_cifar10": NINConfig(
        num_classes=10,
        kernels=(5, 5, 3),
        widths=((192, 160, 96), (192, 192, 192), (192, 192)),
        pools=("max", "average"),
        dropouts=(0.5, 0.5),
        init_std=(0.05, 0.05, 0.05, 0.05),
    ),
    "nin_imagenet": NINConfig(
        kernels=(11, 5, 3, 3),
        stride=4,
        widths=((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024)),
        pools=("max", "max", "max"),
        dropouts=(0.0, 0.0, 0.5),
        init_std=(0.01, 0.05, 0.01, 0.05, 0.01),
    ),
}
