"""How images lie in memory, NCHW or NHWC, changes no number, and is handed on where it can be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neocog.layers.activation import maxout, relu6, scaled_tanh
from neocog.layers.conv import Conv2dSame
from neocog.layers.deformable import DeformableConv2d
from neocog.layers.drop import StochasticDepth
from neocog.layers.filters import GaborBank, Sobel, Unsharp
from neocog.layers.fold import fold_batch_norm
from neocog.layers.invertible import InvertibleConv1x1
from neocog.layers.low_rank import decompose_convolution
from neocog.layers.norm import LocalResponseNorm, ScaledStdConv2d, WSConv2d, normalise
from neocog.layers.pool import SumPool2d
from neocog.layers.resample import ResizeConv2d
from neocog.layers.residual import PaddedIdentity
from neocog.layers.separable import DepthwiseSeparableConv2d, SpatiallySeparableConv2d
from neocog.layers.squeeze_excite import SqueezeExcite
from neocog.layers.switchable import SwitchableAtrousConv2d
from neocog.models import create_model


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def stochastic() -> nn.Module:
    depth = StochasticDepth(0.7, "row")
    return Function(lambda x: depth(x, lambda: 2 * x))


KEEPING: dict[str, Callable[[], nn.Module]] = {
    "scaled tanh": lambda: Function(scaled_tanh),
    "relu6": lambda: Function(relu6),
    "maxout": lambda: Function(maxout),
    "maxout of 4": lambda: Function(lambda x: maxout(x, 4)),
    "batch norm by formula": lambda: Function(lambda x: normalise(x, over=(0, 2, 3))),
    "local response norm": lambda: LocalResponseNorm(5, alpha=0.1),
    "standardised": lambda: WSConv2d(8, 6, 3),
    "scaled, standardised": lambda: ScaledStdConv2d(8, 6, 3, groups=2),
    "folded": lambda: fold_batch_norm(nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6)),
    "low rank": lambda: decompose_convolution(nn.Conv2d(8, 6, 3, padding=1), 1),
    "stochastic depth": stochastic,
    "same": lambda: Conv2dSame(8, 6, 3, 2),
    "depthwise separable": lambda: DepthwiseSeparableConv2d(8, 6, 3),
    "spatially separable": lambda: SpatiallySeparableConv2d(8, 6, 3),
    "sum": lambda: SumPool2d(3, 2),
    "resized": lambda: ResizeConv2d(8, 6, 3),
    "padded identity": lambda: PaddedIdentity(8, 12, 2),
    "squeeze and excitation": lambda: SqueezeExcite(8, 4),
}
MOVING: dict[str, Callable[[], nn.Module]] = {
    # These look at one channel, or one offset, at a time.
    "sobel": Sobel,
    "gabor": lambda: GaborBank(3, 3.0),
    "unsharp": lambda: Unsharp(1.0),
    "deformable": lambda: DeformableConv2d(8, 6, 3),
    "switchable": lambda: SwitchableAtrousConv2d(8, 6, 3),
    "invertible": lambda: InvertibleConv1x1(8),
}


def step(network: nn.Module, images: Tensor, layout: torch.memory_format) -> tuple[Tensor, list[Tensor]]:
    """Return the output of a forward pass, and the gradients of the images and of all parameters."""
    network.to(memory_format=layout)
    x = images.clone(memory_format=layout).requires_grad_()
    torch.manual_seed(1)
    y = network(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    gradients = torch.autograd.grad((y * weight).sum(), [x, *network.parameters()], allow_unused=True)
    return y.detach(), [gradient for gradient in gradients if gradient is not None]


@pytest.mark.parametrize("name", [*KEEPING, *MOVING])
def test_a_layer_computes_the_same_in_both_layouts(name: str) -> None:
    torch.manual_seed(0)
    layer = (KEEPING | MOVING)[name]().double()
    images = torch.randn(3, 8, 10, 9, dtype=torch.float64) * 3
    first, second = (step(layer, images, layout) for layout in (torch.contiguous_format, torch.channels_last))
    torch.testing.assert_close(first, second)
    if name in KEEPING:
        assert second[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenetv2_035"])
def test_a_network_learns_the_same_in_both_layouts(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name).double()
    images = torch.randn(4, network.config.in_chans, 32, 32, dtype=torch.float64)
    first, second = (step(network, images, layout) for layout in (torch.contiguous_format, torch.channels_last))
    torch.testing.assert_close(first[0], second[0])
    floor = 1e-9 * max(float(gradient.abs().max()) for gradient in first[1])  # what is zero but for rounding
    for ours, theirs in zip(first[1], second[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=floor)
