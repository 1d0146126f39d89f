"""How convolution, pooling, resizing and unfolding carry receptive fields."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from neocog.analysis import _extents as ex
from neocog.analysis import _moves, _sliding
from neocog.analysis._extents import Extent
from neocog.analysis._reach_types import Field, Lookup, Rule, each, moving
from neocog.analysis.record import Operation, Value


def _pair(value: Any, count: int) -> list[int]:
    values = list(value) if isinstance(value, tuple | list) else [value]
    return values * count if len(values) == 1 else values


def _channels(extent: Extent, groups: int, count: int) -> Extent:
    """Return that of `count` channels, each made of all those of its group."""
    if groups == 1 or not extent.varies(1):
        return ex.reduce(extent, [1], whole=False)
    shape = list(extent.ends.shape[2:])
    apart = _moves.view(extent, shape, [shape[0], groups, shape[1] // groups, *shape[2:]])
    apart = ex.reduce(apart, [2], whole=False)
    ends = np.repeat(apart.ends.squeeze(4), count // groups, axis=3) if apart.varies(1) else apart.ends.squeeze(4)
    return Extent(ends, (apart.steps[0], apart.steps[1], *apart.steps[3:]))


def _convolution(operation: Operation, of: Lookup) -> list[Field | None]:
    image, weight = operation.args[0], operation.args[1]
    field = of(image)
    if field is None:
        return [None]
    stride, padding, dilation = (operation.argument(*at) for at in ((3, "stride"), (4, "padding"), (5, "dilation")))
    transposed = bool(operation.argument(6, "transposed", False))
    groups = operation.argument(8, "groups", 1)
    kernel, shape = weight.shape[2:], operation.outputs[0].shape
    slide = _sliding.transposed_window if transposed else _sliding.window

    def change(extent: Extent) -> Extent:
        extent = _channels(extent, groups, shape[1])
        for axis, size in enumerate(kernel):
            s, p, d = (_pair(each, len(kernel))[axis] for each in (stride, padding, dilation))
            extent = slide(extent, axis + 2, shape[axis + 2], size, s, p, d)
        return extent

    return [each(field, change)]


def _deformable(operation: Operation, of: Lookup) -> list[Field | None]:
    """Offsets are learned, so that a tap may lie anywhere; the path that sees least has them at zero."""
    image, weight, offsets, mask = operation.args[:4]
    field = of(image)
    if field is None:
        return [None]
    numbers = [value for value in operation.args if isinstance(value, int) and not isinstance(value, bool)]
    strides, paddings, dilations = numbers[0:2], numbers[2:4], numbers[4:6]
    shape = operation.outputs[0].shape

    def change(extent: Extent) -> Extent:
        extent = ex.reduce(extent, [1], whole=False)
        everything = ex.merged(extent.ends, tuple(range(2, extent.ndim + 2)))
        for axis, size in enumerate(weight.shape[2:]):
            s, p, d = strides[axis], paddings[axis], dilations[axis]
            extent = _sliding.window(extent, axis + 2, shape[axis + 2], size, s, p, d)
        ends = extent.ends.copy()
        ends[[ex.UNION, ex.LARGEST], 0], ends[[ex.UNION, ex.LARGEST], 1] = -np.inf, np.inf
        ends[ex.SEEN] = everything[ex.SEEN]
        return Extent(ends, extent.steps)

    near = [of(value) for value in (offsets, mask) if isinstance(value, Value)]
    reached = [each(field, lambda extent: ex.reduce(extent, [1], whole=False)) for field in near if field is not None]
    moved = each(field, change)
    return [tuple(ex.join(axes) for axes in zip(moved, *reached, strict=True))]


def _pool(operation: Operation, extent: Extent) -> Extent:
    shape = operation.outputs[0].shape
    count = _dimensions(operation)
    kernel = _pair(operation.argument(1, "kernel_size"), count)
    stride = _pair(operation.argument(2, "stride", ()) or kernel, count)
    padding = _pair(operation.argument(3, "padding", 0), count)
    dilation = _pair(operation.argument(4, "dilation", 1) if "max" in operation.name else 1, count)
    for axis in range(count):
        dim = len(shape) - count + axis
        extent = _sliding.window(extent, dim, shape[dim], kernel[axis], stride[axis], padding[axis], dilation[axis])
    return extent


def _dimensions(operation: Operation) -> int:
    """Return how many dimensions an operation such as "avg_pool2d" slides over."""
    return next(count for count in (1, 2, 3) if f"{count}d" in operation.name)


def _fractional_pool(operation: Operation, extent: Extent) -> Extent:
    """Window i of n begins at ⌊(i + u) α⌋ − ⌊u α⌋, α = (N − K) / (n − 1), u being drawn: at one of two places."""
    before, after, kernel = operation.args[0].shape, operation.outputs[0].shape, operation.args[1]
    for axis, size in enumerate(kernel):
        dim = len(before) - len(kernel) + axis
        room, count = before[dim] - size, after[dim]
        if count == 1 or not extent.varies(dim):
            extent = ex.reduce(extent, [dim]) if count == 1 else extent
            continue
        first = np.arange(count) * room // (count - 1)
        last = -(-np.arange(count) * room // (count - 1)) + size - 1
        places = np.minimum(first[:, None] + np.arange(size + 1), last[:, None])
        extent = _sliding.take(extent, dim, places, _sliding.resized_step(extent.steps[dim], Fraction(room, count - 1)))
    return extent


def _adaptive_pool(operation: Operation, extent: Extent) -> Extent:
    before, after = operation.args[0].shape, operation.outputs[0].shape
    dims = range(len(before) - _dimensions(operation), len(before))
    for dim in dims:
        length, count = before[dim], after[dim]
        if count > 1 and length != count:
            step = _sliding.resized_step(extent.steps[dim], Fraction(length, count))
            extent = _sliding.take(extent, dim, _sliding.adaptive_places(length, count), step)
    ones = [dim for dim in dims if after[dim] == 1]
    return ex.reduce(extent, ones) if ones else extent


def _resample(operation: Operation, extent: Extent) -> Extent:
    before, after = operation.args[0].shape, operation.outputs[0].shape
    count = _dimensions(operation)
    nearest, corners = "nearest" in operation.name, False
    given = list(operation.args[2:]) + list(operation.kwargs.values())
    if not nearest:
        corners = bool(operation.argument(2, "align_corners", False))
        given = given[1:]
    scales = _pair(given[0], count) if given and isinstance(given[0], tuple | list) else given[:count]
    for axis in range(count):
        dim = len(before) - count + axis
        old, new = before[dim], after[dim]
        if not extent.varies(dim):
            continue
        scale = Fraction(old, new)
        if corners:
            scale = Fraction(old - 1, new - 1) if new > 1 else Fraction(0)
        elif axis < len(scales) and scales[axis]:
            scale = 1 / Fraction(scales[axis]).limit_denominator(1000)
        places = _nearest(operation, new, scale) if nearest else _weighed(operation, new, scale, corners)
        step = _sliding.resized_step(extent.steps[dim], scale) if scale else extent.steps[dim]
        extent = _sliding.take(extent, dim, places, step, real=np.clip(places, 0, old - 1))
    return extent


def _nearest(operation: Operation, new: int, scale: Fraction) -> _sliding.Places:
    """Return the position that each of `new` reads; in single precision, as torch computes it."""
    shift = np.float32(0.5 if "exact" in operation.name else 0.0)
    places: _sliding.Places = np.floor((np.arange(new, dtype=np.float32) + shift) * np.float32(scale)).astype(np.int64)
    return places[:, None]


def _weighed(operation: Operation, new: int, scale: Fraction, corners: bool) -> _sliding.Places:
    """Return the positions that each of `new` weighs; weights of zero reach nothing."""
    cubic = "cubic" in operation.name
    support = 2 if cubic else 1
    width = support * max(Fraction(1), scale if operation.name.endswith("_aa") else Fraction(1))
    lows, highs = [], []
    for place in range(new):
        at = place * scale if corners else (place + Fraction(1, 2)) * scale - Fraction(1, 2)
        alone = at.denominator == 1 and width == support  # on a position: its neighbours' weights are zero
        lows.append(int(at) if alone else (at - width).__floor__() + 1)
        highs.append(int(at) if alone else (at + width).__ceil__() - 1)
    first, last = np.array(lows), np.array(highs)
    taps = np.arange(int((last - first).max()) + 1)
    places: _sliding.Places = np.minimum(first[:, None] + taps, last[:, None])
    return places


def _unfold(operation: Operation, extent: Extent) -> Extent:
    dim, size, stride = operation.args[1:4]
    dim %= len(operation.args[0].shape)
    places = np.arange(operation.outputs[0].shape[dim])[:, None] * stride + np.arange(size)
    return _sliding.unfold(extent, dim, places, stride, 1)


def _columns(operation: Operation, extent: Extent) -> Extent:
    """`F.unfold`: (N, C, H, W) to (N, C * kernel, windows)."""
    kernel, dilation, padding, stride = (_pair(each, 2) for each in operation.args[1:5])
    size = operation.args[0].shape[2:]
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1
              for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)]  # fmt: skip
    for axis in range(2):
        starts = np.arange(counts[axis])[:, None] * stride[axis] - padding[axis]
        places = starts + np.arange(kernel[axis]) * dilation[axis]
        extent = _sliding.unfold(extent, axis + 2, places, stride[axis], dilation[axis])
    extent = _moves.permute(extent, (0, 1, 4, 5, 2, 3))
    batch, channels = operation.args[0].shape[:2]
    return _moves.view(extent, (batch, channels, *kernel, *counts), operation.outputs[0].shape)


def _folded(operation: Operation, extent: Extent) -> Extent:
    """`F.fold`: (N, C * kernel, windows) back to (N, C, H, W), with what overlaps added up."""
    size, kernel, dilation, padding, stride = (_pair(each, 2) for each in operation.args[1:6])
    batch, channels = operation.outputs[0].shape[:2]
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1
              for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)]  # fmt: skip
    shape = (batch, channels, *kernel, *counts)
    extent = _moves.view(extent, operation.args[0].shape, shape)
    for axis in range(2):
        k, n = kernel[axis], counts[axis]
        # Kernel and windows of one axis as one dimension, in which each pixel looks up its taps.
        order = (0, 1, 2, 4, 3, 5) if axis == 0 else (0, 1, 2, 3, 4)
        old = (batch, channels, kernel[0], counts[0], kernel[1], counts[1]) if axis == 0 else ()
        if axis == 0:
            extent = _moves.permute(extent, order)
            extent = _moves.view(extent, old, (batch, channels, k * n, kernel[1], counts[1]))
        else:
            extent = _moves.view(
                extent, (batch, channels, size[0], kernel[1], counts[1]), (batch, channels, size[0], k * n)
            )
        tap = np.arange(k)[None]
        reach = np.arange(size[axis])[:, None] + padding[axis] - tap * dilation[axis]
        window = reach // stride[axis]
        exists = (reach % stride[axis] == 0) & (window >= 0) & (window < n)
        places = np.where(exists, tap * n + window, 0)
        extent = _moves.told(_sliding.take(extent, 2 + axis, places, ex.IRREGULAR, exists=exists), [2 + axis])
    return extent


_POOLS = """
    avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices
    max_pool3d_with_indices
""".split()
_ADAPTIVE = """
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
""".split()
_RESAMPLED = """
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa
""".split()

WINDOWS: dict[str, Rule] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "deform_conv2d": _deformable,
    **dict.fromkeys(_POOLS, moving(_pool)),
    **dict.fromkeys(_ADAPTIVE, moving(_adaptive_pool)),
    **dict.fromkeys(_RESAMPLED, moving(_resample)),
    **dict.fromkeys(["fractional_max_pool2d", "fractional_max_pool3d"], moving(_fractional_pool)),
    "unfold": moving(_unfold),
    "im2col": moving(_columns),
    "col2im": moving(_folded),
}
"""Their rules, by torch's names."""
