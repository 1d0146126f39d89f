"""What the layers run is known to the analysis: no operation uncounted, none without a rule of reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from field_checks import Function, check_every_position
from torch import Tensor, nn

from neocog.analysis import receptive_fields, trace_forward
from neocog.analysis.cost import Cost, count_cost
from neocog.analysis.graph import anatomy
from neocog.layers.conv import Conv2dSame
from neocog.layers.convolution_by_hand import Geometry, convolve
from neocog.layers.deformable import DeformableConv2d
from neocog.layers.invertible import InvertibleConv1x1, InvertibleConv1x1LU
from neocog.layers.pool import FractionalMaxPool2d, SumPool2d, average_as_convolution
from neocog.layers.resample import ResizeConv2d, bilinear_transposed_conv, transposed_by_zero_stuffing
from neocog.layers.separable import DepthwiseSeparableConv2d, GroupedPointwiseConv2d, SpatiallySeparableConv2d
from neocog.layers.switchable import SwitchableAtrousConv2d


class Flowing(nn.Module):
    """An invertible convolution with its log-determinant, or its inverse."""

    def __init__(self, layer: InvertibleConv1x1 | InvertibleConv1x1LU, *, inverse: bool = False) -> None:
        super().__init__()
        self.layer, self.inverse = layer, inverse

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.inverse(x) if self.inverse else self.layer(x) + self.layer.log_determinant(*x.shape[2:])


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "same": lambda: Conv2dSame(4, 4, 3, 2),
    "depthwise separable": lambda: DepthwiseSeparableConv2d(4, 4),
    "spatially separable": lambda: SpatiallySeparableConv2d(4, 4),
    "grouped pointwise": lambda: GroupedPointwiseConv2d(4, 4, 2),
    "deformable": lambda: DeformableConv2d(4, 4),
    "deformable, modulated": lambda: DeformableConv2d(4, 4, modulated=True),
    "switchable": lambda: SwitchableAtrousConv2d(4, 4),
    "switchable, deformable": lambda: SwitchableAtrousConv2d(4, 4, deformable=True),
    "invertible": lambda: Flowing(InvertibleConv1x1(4)),
    "invertible, LU": lambda: Flowing(InvertibleConv1x1LU(4)),
    "inverse": lambda: Flowing(InvertibleConv1x1(4), inverse=True),
    "inverse, LU": lambda: Flowing(InvertibleConv1x1LU(4), inverse=True),
    "resize": lambda: ResizeConv2d(4, 4),
    "resize, bilinear": lambda: ResizeConv2d(4, 4, mode="bilinear"),
    "bilinear transposed": lambda: bilinear_transposed_conv(4, 2),
    "zeros between": lambda: Function(lambda x: transposed_by_zero_stuffing(x, torch.ones(4, 4, 3, 3), stride=2)),
    "average": lambda: average_as_convolution(4, 2),
    "sum": lambda: SumPool2d(2),
    "fractional": lambda: FractionalMaxPool2d(1.4),
    "fractional, random": lambda: FractionalMaxPool2d(1.4, pseudorandom=False),
    "torch's fractional": lambda: nn.FractionalMaxPool2d(2, output_ratio=0.7),
    "by hand": lambda: Function(
        lambda x: convolve(x, torch.ones(4, 2, 3, 3), geometry=Geometry(2, 2, 1, "reflect", 2, True))
    ),
}


def cost(network: nn.Module, *image: int) -> Cost:
    return count_cost(trace_forward(network, image))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_every_operation_is_known(name: str, training: bool):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), LAYERS[name](), nn.Conv2d(4, 4, 2, bias=False)).train(training)
    trace = trace_forward(network, (3, 14, 14), training=training)
    assert trace.device == "meta"
    assert count_cost(trace).uncounted == {}
    fields = receptive_fields(trace)
    assert fields.unknown == ()
    assert fields.of("2").shape[1] == 4
    assert len(anatomy(trace).overview.nodes) > 2


def test_determinants_inverses_and_solutions_cost_what_their_loops_do():
    """Counted by running Gauss's elimination with loops."""
    n = 6
    matrix = (torch.rand(n, n) + n * torch.eye(n)).tolist()
    elimination = 0
    for k in range(n):
        for i in range(k + 1, n):
            matrix[i][k] /= matrix[k][k]
            elimination += 1
            for j in range(k + 1, n):
                matrix[i][j] -= matrix[i][k] * matrix[k][j]
                elimination += 2
    plain = cost(nn.Sequential(InvertibleConv1x1(n)), n, 4, 5)
    with_determinant = cost(nn.Sequential(Flowing(InvertibleConv1x1(n))), n, 4, 5)
    # n logarithms and n sums, a product with the number of positions, and that sum's addition to each number of y.
    added = 2 * n + 1 + n * 4 * 5
    assert with_determinant.flops - plain.flops == elimination + added
    assert with_determinant.macs == plain.macs == n * n * 4 * 5

    solved = cost(nn.Sequential(Flowing(InvertibleConv1x1LU(n), inverse=True)), n, 4, 5)
    permuted = n * n * 4 * 5
    columns, scales = 4 * 5, 3 * n + n * n  # exp(log s), · sign; 1 on L's diagonal, s on U's
    assert solved.macs == permuted
    below = sum(2 * i for i in range(n))  # forward: row i takes away i products; backward: and divides by its diagonal
    assert solved.flops - 2 * permuted == pytest.approx(columns * (below + below + n), rel=scales / columns / below)

    inverted = cost(nn.Sequential(Flowing(InvertibleConv1x1(n), inverse=True)), n, 4, 5)
    assert inverted.flops - plain.flops == 2 * n**3


def test_the_lu_form_needs_no_determinant():
    wide, plain = 32, 2 * 32 * 32
    difference = cost(nn.Sequential(Flowing(InvertibleConv1x1LU(wide))), wide, 1, 1).flops
    difference -= cost(nn.Sequential(InvertibleConv1x1LU(wide)), wide, 1, 1).flops
    assert difference == wide + 1 + wide  # a sum, a product, an addition to y
    determinant = cost(nn.Sequential(Flowing(InvertibleConv1x1(wide))), wide, 1, 1).flops - plain
    assert determinant > 10 * plain


@pytest.mark.parametrize(("size", "kernel", "out"), [(12, 2, 8), (13, 3, 5), (9, 2, 8), (10, 2, 3)])
def test_fractional_windows_may_lie_where_some_draw_puts_them(size: int, kernel: int, out: int):
    network = nn.Sequential(nn.FractionalMaxPool2d(kernel, output_size=out), nn.Identity())
    field = receptive_fields(trace_forward(network, (1, size, size))).of("0")
    reached: list[set[int]] = [set() for _ in range(out)]
    x = torch.rand(1, 1, size, size)
    for draw in range(60):
        # At multiples of 1/α torch's single precision may round a window one pixel on.
        samples = torch.full((1, 1, 2), (draw + 0.3) / 60)
        for row in range(size):  # every pixel of a window is its maximum once
            y = x.clone()
            y[:, :, row] += 2
            pooled = F.fractional_max_pool2d(y, kernel, output_size=out, _random_samples=samples)
            for window in range(out):
                if pooled[0, 0, window, 0] > 1:
                    reached[window].add(row)
    for window, rows in enumerate(reached):
        low, high = field.at(window, 0)[0]
        assert (low, high) == (min(rows), max(rows))


def test_a_fractional_pool_of_one_window_sees_all():
    network = nn.Sequential(nn.FractionalMaxPool2d(5, output_size=1), nn.Identity())
    assert receptive_fields(trace_forward(network, (1, 5, 5))).of("0").is_global


@pytest.mark.parametrize(
    "layer",
    [
        Conv2dSame(2, 3, 3, 2),
        DepthwiseSeparableConv2d(2, 3, 3, stride=2, padding=2, dilation=2),
        SpatiallySeparableConv2d(2, 3, 5, padding=2),
        SumPool2d(3, 2, 1),
        ResizeConv2d(2, 3, scale=3),
        nn.Sequential(nn.Conv2d(2, 2, 3), Flowing(InvertibleConv1x1LU(2), inverse=True)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_fields_are_the_gradients(layer: nn.Module):
    check_every_position(nn.Sequential(layer, nn.Identity()), (2, 11, 10), "0")
