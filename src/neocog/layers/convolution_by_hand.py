"""Convolution and its backward pass written out, to be read beside the formulas. Use torch's own to compute.

Three copies of the same thing, each less literal than the one before:

1. `correlate`, `input_gradient`, `kernel_gradient`, `bias_gradient`: one image, loops over every index. I is the image
   `(H, W, C_i)`, K the kernel `(H_K, W_K, C_i, C_o)`, b the biases `(C_o,)`, O the output `(H', W', C_o)`, as lectures
   write them; s is the stride, d the dilation, dO stands for ∂L/∂O, and so on.
2. `forward` and `backward`: NumPy, batches, any number of spatial axes, padding, groups, in torch's order of
   dimensions. One sum of products over windows.
3. `convolve`: PyTorch, as an autograd function, whose gradient with respect to the input is itself a convolution.

What layers call convolution is cross-correlation, I(x + i) K(i); true convolution, I(x − i) K(i), is the same with the
kernel turned round in every axis (`flip`). Which of the two a layer computes makes no difference to what it can learn.

The gradients follow from the chain rule: each product I · K passes to either factor the other, times the gradient of
the output that it was added to. Dumoulin and Visin 2016 draw stride, dilation and padding; LeCun et al. 1989 train a
network with such gradients.
"""

# ruff: noqa: E741 - I and O are the formulas' names

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neocog.errors import UsageError
from neocog.layers.conv import Size, conv_output_size, dilated_size, per_axis, require_groups

Array = NDArray[Any]
Gradients = tuple[Array, Array, Array]
Pair = tuple[int, int]
Mode = Literal["zeros", "reflect", "replicate", "circular"]
IN_NUMPY: dict[Mode, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}

# 1. The formulas, index by index. The image is padded already.


def correlate(I: Array, K: Array, b: Array, stride: Pair = (1, 1), dilation: Pair = (1, 1)) -> Array:
    """Return O(n, m, c_o) = Σ_{i, j, c_i} I(s_x n + d_x i, s_y m + d_y j, c_i) · K(i, j, c_i, c_o) + b(c_o)."""
    (s_x, s_y), (d_x, d_y) = stride, dilation
    O = np.zeros((*Geometry(stride, dilation).output(I.shape[:2], K.shape[:2]), K.shape[3]))
    for n, m, c_o in np.ndindex(O.shape):
        O[n, m, c_o] = b[c_o]
        for i, j, c_i in np.ndindex(K.shape[:3]):
            O[n, m, c_o] += I[s_x * n + d_x * i, s_y * m + d_y * j, c_i] * K[i, j, c_i, c_o]
    return O


def true_convolution(I: Array, K: Array, b: Array) -> Array:
    """Return O(n, m, c_o) = Σ_{i, j, c_i} I(n' − i, m' − j, c_i) · K(i, j, c_i, c_o) + b(c_o).

    There n' = n + H_K − 1 and m' = m + W_K − 1, the first places from which all taps lie in the image. With i counted
    from the other end that is `correlate` with the kernel turned round, and so are its gradients.
    """
    return correlate(I, K[::-1, ::-1], b)


def input_gradient(dO: Array, K: Array, size: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)) -> Array:
    """Return ∂L/∂I(x, y, c_i) = Σ_{i, j, c_o} ∂L/∂O(n, m, c_o) · K(i, j, c_i, c_o), where s n + d i is (x, y).

    With stride and dilation 1 the output that met pixel x with tap i is n = x − i: a true convolution of the
    output's gradient with the kernel. With a stride, taps that no output put on the pixel add nothing. `size` is
    `(H, W)`, which may be more than the outputs read.
    """
    (s_x, s_y), (d_x, d_y) = stride, dilation
    dI = np.zeros((*size, K.shape[2]))
    for x, y, c_i in np.ndindex(dI.shape):
        for i, j, c_o in np.ndindex(K.shape[0], K.shape[1], K.shape[3]):
            (n, off_x), (m, off_y) = divmod(x - d_x * i, s_x), divmod(y - d_y * j, s_y)
            if off_x == off_y == 0 and 0 <= n < dO.shape[0] and 0 <= m < dO.shape[1]:
                dI[x, y, c_i] += dO[n, m, c_o] * K[i, j, c_i, c_o]
    return dI


def kernel_gradient(dO: Array, I: Array, size: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)) -> Array:
    """Return ∂L/∂K(i, j, c_i, c_o) = Σ_{n, m} ∂L/∂O(n, m, c_o) · I(s_x n + d_x i, s_y m + d_y j, c_i).

    Every place where a weight was used adds to its gradient: that is what sharing weights means. `size` is
    `(H_K, W_K)`.
    """
    (s_x, s_y), (d_x, d_y) = stride, dilation
    dK = np.zeros((*size, I.shape[2], dO.shape[2]))
    for i, j, c_i, c_o in np.ndindex(dK.shape):
        for n, m in np.ndindex(dO.shape[:2]):
            dK[i, j, c_i, c_o] += dO[n, m, c_o] * I[s_x * n + d_x * i, s_y * m + d_y * j, c_i]
    return dK


def bias_gradient(dO: Array) -> Array:
    """Return ∂L/∂b(c_o) = Σ_{n, m} ∂L/∂O(n, m, c_o)."""
    return np.asarray(dO.sum(axis=(0, 1)))


# What surrounds the formulas: how the kernel slides, and what lies beyond the border.


@dataclass(frozen=True)
class Geometry:
    """How a kernel slides over an image; each size is one number, or one for each spatial axis.

    Attributes:
        stride: pixels between two outputs.
        dilation: pixels between two taps.
        padding: pixels added at both ends of an axis; "same" for as many as make the output ceil(N / stride) long,
            the odd one after.
        mode: what the added pixels hold: zeros, the image reflected without its border, its border, its other end.
        groups: into which channels are divided; each group of outputs reads one group of inputs.
        flip: true convolution, the kernel turned round, instead of cross-correlation.
    """

    stride: Size = 1
    dilation: Size = 1
    padding: Size | Literal["same"] = 0
    mode: Mode = "zeros"
    groups: int = 1
    flip: bool = False

    def pads(self, sizes: Sequence[int], kernel: Sequence[int]) -> list[Pair]:
        """Return the pixels that are added before and after each axis of an image of such sizes."""
        axes = len(sizes)
        if self.padding != "same":
            return [(each, each) for each in per_axis(self.padding, axes)]
        missing = [
            max(0, (-(-size // s) - 1) * s + dilated_size(taps, d) - size)
            for size, taps, s, d in zip(sizes, kernel, *self._steps(axes), strict=True)
        ]
        return [(each // 2, each - each // 2) for each in missing]

    def _steps(self, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return per_axis(self.stride, axes), per_axis(self.dilation, axes)

    def output(self, padded: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Return the size of the output; what a stride leaves over is not read."""
        axes = zip(padded, kernel, *self._steps(len(padded)), strict=True)
        return tuple(conv_output_size(size, taps, s, dilation=d, floor=True) for size, taps, s, d in axes)

    def taps(self, output: Sequence[int], kernel: Sequence[int]) -> Iterator[tuple[slice, ...]]:
        """Yield, for each tap of the kernel in order, where in a padded batch it meets it while it slides."""
        stride, dilation = self._steps(len(output))
        for tap in np.ndindex(*kernel):
            yield _every(stride, [d * i for d, i in zip(dilation, tap, strict=True)], output)


def _every(steps: Sequence[int], starts: Sequence[int], counts: Sequence[int]) -> tuple[slice, ...]:
    """Return the index of so many positions along each spatial axis of a batch."""
    along = [slice(start, start + s * (n - 1) + 1, s) for s, start, n in zip(steps, starts, counts, strict=True)]
    return (slice(None), slice(None), *along)


def padded_places(length: int, before: int, after: int, mode: Mode) -> Array:
    """Return, for each position of a padded axis, the position of the image that it shows; -1 for a zero.

    Raises:
        UsageError: the image is too short to be reflected or wrapped so far.
    """
    if mode == "zeros":
        return np.pad(np.arange(length), (before, after), constant_values=-1)
    most = {"reflect": length - 1, "circular": length}.get(mode)
    if most is not None and max(before, after) > most:
        raise UsageError(f"an axis of {length} cannot be padded by {max(before, after)} in mode {mode}: at most {most}")
    return np.pad(np.arange(length), (before, after), IN_NUMPY[mode])


# 2. NumPy: all windows at once.


def forward(image: Array, kernel: Array, bias: Array | None = None, geometry: Geometry = Geometry()) -> Array:
    """Return the convolution of a batch, `(N, C_o, ...)`.

    Args:
        image: `(N, C_i, ...)`, with one, two or more spatial axes.
        kernel: `(C_o, C_i / groups, ...)`.
        bias: `(C_o,)`.
        geometry: how the kernel slides.

    Raises:
        UsageError: the groups do not divide the channels, or the kernel does not fit.
    """
    require_groups(image.shape[1], len(kernel), geometry.groups)
    windows, output = _windows(_pad(image, kernel.shape[2:], geometry), kernel.shape[2:], geometry)
    products = np.einsum("ngcpk,gock->ngop", windows, _in_groups(kernel, geometry))
    result: Array = products.reshape(len(image), len(kernel), *output)
    return result if bias is None else result + bias.reshape(-1, *[1] * len(output))


def backward(gradient: Array, image: Array, kernel: Array, geometry: Geometry = Geometry()) -> Gradients:
    """Return the gradients of image, kernel and bias from `gradient`, that of what `forward` returns."""
    sizes, groups = kernel.shape[2:], geometry.groups
    padded = _pad(image, sizes, geometry)
    windows, output = _windows(padded, sizes, geometry)
    upstream = gradient.reshape(len(image), groups, len(kernel) // groups, -1)

    of_kernel = np.einsum("ngop,ngcpk->gock", upstream, windows).reshape(kernel.shape)
    of_windows = np.einsum("ngop,gock->ngcpk", upstream, _in_groups(kernel, geometry))
    of_windows = of_windows.reshape(*image.shape[:2], *output, -1)
    of_padded = np.zeros_like(padded)
    for number, where in enumerate(geometry.taps(output, sizes)):  # windows overlap: what they give a pixel adds up
        of_padded[where] += of_windows[..., number]
    of_image = _unpad(of_padded, image.shape, sizes, geometry)
    return of_image, _turned(of_kernel, geometry), upstream.sum((0, 3)).reshape(-1)


def _windows(padded: Array, sizes: Sequence[int], geometry: Geometry) -> tuple[Array, tuple[int, ...]]:
    """Return what the kernel meets, `(N, groups, C_i / groups, positions, taps)`, and the size of the output."""
    output = geometry.output(padded.shape[2:], sizes)
    met = np.stack([padded[where] for where in geometry.taps(output, sizes)], -1)
    return met.reshape(len(padded), geometry.groups, padded.shape[1] // geometry.groups, -1, met.shape[-1]), output


def _in_groups(kernel: Array, geometry: Geometry) -> Array:
    """Return the kernel as `(groups, C_o / groups, C_i / groups, taps)`."""
    return _turned(kernel, geometry).reshape(geometry.groups, len(kernel) // geometry.groups, kernel.shape[1], -1)


def _turned(kernel: Array, geometry: Geometry) -> Array:
    """Return the kernel as it meets the image: turned round in every spatial axis for a true convolution."""
    return np.flip(kernel, tuple(range(2, kernel.ndim))) if geometry.flip else kernel


def _pad(image: Array, sizes: Sequence[int], geometry: Geometry) -> Array:
    for axis, (before, after) in enumerate(geometry.pads(image.shape[2:], sizes), start=2):
        places = padded_places(image.shape[axis], before, after, geometry.mode)
        shown = (places >= 0).reshape(-1, *[1] * (image.ndim - axis - 1))
        image = image.take(np.maximum(places, 0), axis) * shown
    return image


def _unpad(padded: Array, shape: Sequence[int], sizes: Sequence[int], geometry: Geometry) -> Array:
    """Return the gradient of the image from that of the padded one: every copy of a pixel adds to it."""
    for axis, (before, after) in enumerate(geometry.pads(shape[2:], sizes), start=2):
        places = padded_places(shape[axis], before, after, geometry.mode)
        rows = np.moveaxis(padded, axis, 0)
        sums = np.zeros((shape[axis], *rows.shape[1:]), padded.dtype)
        np.add.at(sums, places[places >= 0], rows[places >= 0])
        padded = np.moveaxis(sums, 0, axis)
    return padded


# 3. PyTorch: the same as an autograd function, in which the backward pass is two more correlations.


def convolve(image: Tensor, kernel: Tensor, bias: Tensor | None = None, geometry: Geometry = Geometry()) -> Tensor:
    """Return what `forward` returns, of tensors; autograd goes through the gradients written below."""
    require_groups(image.shape[1], len(kernel), geometry.groups)
    for axis, (before, after) in enumerate(geometry.pads(image.shape[2:], kernel.shape[2:]), start=2):
        places = torch.from_numpy(padded_places(image.shape[axis], before, after, geometry.mode)).to(image.device)
        shown = (places >= 0).view(-1, *[1] * (image.ndim - axis - 1))
        image = image.index_select(axis, places.clamp(min=0)) * shown
    turned = kernel.flip(*range(2, kernel.ndim)) if geometry.flip else kernel
    result: Tensor = _Correlation.apply(image, turned, geometry)
    return result if bias is None else result + bias.view(-1, *[1] * (image.ndim - 2))


class _Correlation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(image, kernel)
        ctx.geometry = geometry
        return _correlated(image, kernel, geometry)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        image, kernel = ctx.saved_tensors
        geometry: Geometry = ctx.geometry
        sizes, groups, axes = kernel.shape[2:], geometry.groups, image.ndim - 2
        stride, dilation = per_axis(geometry.stride, axes), per_axis(geometry.dilation, axes)

        # With respect to the kernel: each tap met a strided view of the image, whose product with the gradient counts.
        upstream = gradient.reshape(len(image), groups, len(kernel) // groups, -1)
        of_kernel = torch.einsum("ngop,ngcpk->gock", upstream, _met(image, sizes, geometry)).reshape(kernel.shape)

        # With respect to the image: a true convolution, that is a correlation with the kernel turned round, of the
        # gradient with s − 1 zeros between its positions and d (K − 1) around them. Inputs and outputs change places.
        spread = [s * (count - 1) + 1 for s, count in zip(stride, gradient.shape[2:], strict=True)]
        margin = [d * (taps - 1) for d, taps in zip(dilation, sizes, strict=True)]
        stuffed = gradient.new_zeros(*gradient.shape[:2], *(n + 2 * m for n, m in zip(spread, margin, strict=True)))
        stuffed[_every(stride, margin, gradient.shape[2:])] = gradient
        swapped = kernel.view(groups, -1, *kernel.shape[1:]).transpose(1, 2).flatten(0, 1).flip(*range(2, kernel.ndim))
        read = _correlated(stuffed, swapped, Geometry(dilation=geometry.dilation, groups=groups))
        of_image = torch.zeros_like(image)  # what a stride left over at the end was never read
        of_image[_every([1] * axes, [0] * axes, read.shape[2:])] = read
        return of_image, of_kernel, None


def _correlated(image: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
    grouped = kernel.reshape(geometry.groups, len(kernel) // geometry.groups, kernel.shape[1], -1)
    products = torch.einsum("ngcpk,gock->ngop", _met(image, kernel.shape[2:], geometry), grouped)
    return products.reshape(len(image), len(kernel), *geometry.output(image.shape[2:], kernel.shape[2:]))


def _met(image: Tensor, sizes: Sequence[int], geometry: Geometry) -> Tensor:
    """Return what the kernel meets: `(N, groups, C_i / groups, positions, taps)`."""
    taps = geometry.taps(geometry.output(image.shape[2:], sizes), sizes)
    met = torch.stack([image[where] for where in taps], -1)
    return met.reshape(len(image), geometry.groups, image.shape[1] // geometry.groups, -1, met.shape[-1])
