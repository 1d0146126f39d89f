"""A trained kernel as a sum of products of one-dimensional ones, and back.

The canonical polyadic (CP) decomposition of a kernel, K(o, i, y, x) ≈ Σ_r A(o, r) B(i, r) C(y, r) D(x, r), turns one
convolution of O·I·H·W weights into four of R (O + I + H + W): 1x1 from the channels to R of them, H x 1 and 1 x W
depthwise, 1x1 to the output. Lebedev, Ganin, Rakhuba, Oseledets and Lempitsky 2015, "Speeding-up convolutional neural
networks using fine-tuned CP-decomposition", arXiv:1412.6553, section 3. MobileNet's separable convolutions are what is
left when such a layer is trained from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neocog.errors import UsageError


@dataclass(frozen=True)
class Factors:
    """A kernel of the rank R, in factors.

    Attributes:
        outputs: A, `(out_channels, R)`.
        inputs: B, `(in_channels, R)`.
        rows: C, `(kh, R)`.
        columns: D, `(kw, R)`.
    """

    outputs: Tensor
    inputs: Tensor
    rows: Tensor
    columns: Tensor

    @property
    def rank(self) -> int:
        """R."""
        return self.outputs.shape[1]

    def kernel(self) -> Tensor:
        """Return the sum of products, `(out_channels, in_channels, kh, kw)`."""
        pixels = _pairs(self.rows, self.columns)
        flat = self.outputs @ _pairs(self.inputs, pixels).T
        return flat.view(*(len(factor) for factor in (self.outputs, self.inputs, self.rows, self.columns)))

    def error(self, kernel: Tensor) -> float:
        """Return the distance to `kernel`, as a share of its norm."""
        return float((self.kernel() - kernel).norm() / kernel.norm())


@torch.no_grad()
def cp_decompose(kernel: Tensor, rank: int, *, iterations: int = 1000, tolerance: float = 1e-6) -> Factors:
    """Return the factors of a kernel, found by alternating least squares in double precision.

    Each factor in turn is the best one for the other three. It begins at the leading singular vectors of the kernel,
    unfolded along each axis, and where these are fewer than the rank at numbers that are the same each time. The
    distance never grows; like every method for this problem it may end in a local minimum.

    Args:
        kernel: `(out_channels, in_channels, kh, kw)`.
        rank: R.
        iterations: rounds over the four factors, at most.
        tolerance: stop when ten rounds make the distance smaller by less than this share of it.

    Raises:
        UsageError: a kernel that has not four axes or is all zeros, or a rank below 1.
    """
    if kernel.ndim != 4 or not kernel.any():
        raise UsageError(f"a kernel has four axes and numbers other than zero; its shape is {tuple(kernel.shape)}")
    if rank < 1:
        raise UsageError(f"the rank of a decomposition is at least 1, not {rank}")
    target = kernel.double()
    factors = _start(target, rank)
    last = float("inf")
    for number in range(iterations):
        factors = _improved(target, factors)
        if number % 10 == 9:
            error = factors.error(target)
            if error < 1e-12 or last - error < tolerance * error:
                break
            last = error
    return _balanced(factors)


def decompose_convolution(convolution: nn.Conv2d, rank: int) -> nn.Sequential:
    """Return a convolution as four of the given rank: 1x1, H x 1 and 1 x W depthwise, 1x1 with the bias.

    Stride, padding and dilation along an axis go with the kernel along it.

    Raises:
        UsageError: a convolution in groups, or a rank below 1.
    """
    if convolution.groups != 1:
        raise UsageError(f"a convolution in {convolution.groups} groups has a kernel for each; it is not decomposed")
    factors = cp_decompose(convolution.weight, rank)
    (height, width), weight = convolution.kernel_size, convolution.weight
    along: dict[str, Any] = {"groups": rank, "bias": False, "padding_mode": convolution.padding_mode}
    layers = nn.Sequential(
        nn.Conv2d(convolution.in_channels, rank, 1, bias=False),
        nn.Conv2d(rank, rank, (height, 1), **_along(convolution, 0), **along),
        nn.Conv2d(rank, rank, (1, width), **_along(convolution, 1), **along),
        nn.Conv2d(rank, convolution.out_channels, 1, bias=convolution.bias is not None),
    ).to(weight.device, weight.dtype)
    values = (factors.inputs.T, factors.rows.T, factors.columns.T, factors.outputs)
    with torch.no_grad():
        for layer, value in zip(layers, values, strict=True):
            assert isinstance(layer, nn.Conv2d)
            layer.weight.copy_(value.reshape(layer.weight.shape))
        if convolution.bias is not None:
            layers[3].bias.copy_(convolution.bias)  # type: ignore[operator]
    return layers


def recompose_kernel(layers: nn.Sequential) -> Tensor:
    """Return the kernel `(out_channels, in_channels, kh, kw)` of what `decompose_convolution` made, as it is by now."""
    inputs, rows, columns, outputs = (layer.weight.detach().double().flatten(1) for layer in layers)  # type: ignore[operator]
    return Factors(outputs, inputs.T, rows.T, columns.T).kernel().to(layers[0].weight.dtype)  # type: ignore[arg-type]


def _along(convolution: nn.Conv2d, axis: int) -> dict[str, Any]:
    """Return stride, padding and dilation along one axis (0: rows, 1: columns), and none along the other."""

    def only(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(value if place == axis else other for place, value in enumerate(values))

    padding = convolution.padding
    return {
        "stride": only(convolution.stride, 1),
        "padding": padding if isinstance(padding, str) else only(padding, 0),
        "dilation": only(convolution.dilation, 1),
    }


def _pairs(left: Tensor, right: Tensor) -> Tensor:
    """Return the products of all rows of `(m, R)` and `(n, R)`, column by column: `(m * n, R)`."""
    return (left[:, None] * right[None]).flatten(0, 1)


def _start(kernel: Tensor, rank: int) -> Factors:
    generator = torch.Generator().manual_seed(0)
    factors = []
    for axis in range(4):
        unfolded = kernel.movedim(axis, 0).flatten(1)
        # Singular vectors from the smaller side's Gram matrix: the other has as many columns as the kernel weights.
        _, vectors = torch.linalg.eigh(unfolded @ unfolded.T)
        leading = vectors.flip(1)[:, :rank]
        more = torch.randn(len(unfolded), rank - leading.shape[1], generator=generator, dtype=torch.float64)
        factors.append(torch.cat([leading, more.to(kernel.device)], 1))
    return Factors(*factors)


def _improved(kernel: Tensor, factors: Factors) -> Factors:
    """Return the factors after a round of least squares over all four."""
    outputs, inputs, rows, columns = factors.outputs, factors.inputs, factors.rows, factors.columns
    size = len(outputs), len(inputs), len(rows) * len(columns)
    by_output = kernel.reshape(size[0], -1)
    by_input = kernel.movedim(1, 0).reshape(size[1], -1)

    outputs = _solved(by_output @ _pairs(inputs, _pairs(rows, columns)), outputs, inputs, rows, columns)
    inputs = _solved(by_input @ _pairs(outputs, _pairs(rows, columns)), inputs, outputs, rows, columns)
    # What is left of the kernel when both factors of the channels are summed over.
    pixels = (outputs.T @ by_output).view(-1, *size[1:])
    pixels = torch.einsum("rip,ir->pr", pixels, inputs).view(len(rows), len(columns), -1)
    rows = _solved((pixels * columns).sum(1), rows, outputs, inputs, columns)
    columns = _solved((pixels * rows[:, None]).sum(0), columns, outputs, inputs, rows)
    return _even(Factors(outputs, inputs, rows, columns))


def _solved(products: Tensor, old: Tensor, *others: Tensor) -> Tensor:
    """Return the factor X of least squares, X G = products, where G holds the other factors' inner products.

    A thousandth of a millionth of the way back to the old factor keeps G invertible and does not move where X ends.
    """
    gram = torch.ones(old.shape[1], old.shape[1], dtype=old.dtype, device=old.device)
    for other in others:
        gram = gram * (other.T @ other)
    hold = 1e-9 * gram.diagonal().mean()
    gram.diagonal().add_(hold)
    solved: Tensor = torch.linalg.solve(gram, products + hold * old, left=False)
    return solved


def _even(factors: Factors) -> Factors:
    """Return the same sum with all but the outputs' vectors of length 1."""
    parts, total = [], torch.ones_like(factors.outputs[0])
    for factor in (factors.inputs, factors.rows, factors.columns):
        length = factor.norm(dim=0).clamp(min=torch.finfo(factor.dtype).tiny)
        parts.append(factor / length)
        total = total * length
    return Factors(factors.outputs * total, *parts)


def _balanced(factors: Factors) -> Factors:
    """Return the same sum with the four vectors of each product equally long, so that all learn alike afterwards."""
    even = _even(factors)
    length = even.outputs.norm(dim=0).clamp(min=torch.finfo(even.outputs.dtype).tiny)
    share = length**0.25
    return Factors(even.outputs / length * share, even.inputs * share, even.rows * share, even.columns * share)
