"""How windows over positions move intervals: convolution, pooling, padding, resizing, and their opposites.

All of it is `take`: which positions of the tensor that is read reach each position of the result. Positions before the
first and after the last are those of padding; what they would see, if the image went on, follows from how the others
repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd

import numpy as np
from numpy.typing import NDArray

from neocog.analysis._extents import NOTHING, SEEN, Array, Extent, Step, finer, merged, strided

Places = NDArray[np.int64]


def read(extent: Extent, dim: int, places: Places, real: Places | None = None) -> Array:
    """Return the ends of positions along `dim`, one for each of `places`, whose shape takes the dimension's place.

    Args:
        extent: of the tensor that is read; it varies along `dim`.
        dim: the dimension.
        places: of any shape; before the first or after the last are those of padding.
        real: where the padding's numbers come from, by default nowhere.
    """
    axis, length = dim + 2, extent.ends.shape[dim + 2]
    period, advance = extent.steps[dim] or (1, 0)
    if period < 1:
        period, advance = 1, 0
    back = np.where(places < length, 0, (places - length) // period + 1)
    periods = np.where(places < 0, -(places // period), -back)
    inside = np.clip(places + periods * period, 0, length - 1)
    ends: Array = np.take(extent.ends, inside, axis=axis)
    trailing = [1] * (extent.ndim - 1 - dim)
    if periods.any():
        ends -= (periods * advance).reshape(*places.shape, *trailing).astype(np.float32)
        source = places if real is None else real
        outside = ((source < 0) | (source >= length)).reshape(*places.shape, *trailing)
        seen = np.take(extent.ends[SEEN], np.clip(source, 0, length - 1), axis=axis - 1)
        for end, empty in enumerate(NOTHING):
            ends[SEEN, end] = np.where(outside, empty, seen[end])
    return ends


def take(
    extent: Extent,
    dim: int,
    places: Places,
    step: Step | None,
    *,
    real: Places | None = None,
    exists: NDArray[np.bool_] | None = None,
) -> Extent:
    """Return that of a tensor whose position i along `dim` is reached by the positions `places[i]` of this one.

    Args:
        extent: of the tensor that is read.
        dim: the dimension.
        places: `(positions, taps)`; before the first or after the last are those of padding.
        step: of the result along `dim`.
        real: where the padding's numbers come from, by default nowhere.
        exists: which of the places there are, by default all.
    """
    if not extent.varies(dim):
        return extent
    axis = dim + 2
    ends = read(extent, dim, places, real)
    if exists is not None:
        mask = exists.reshape(*places.shape, *[1] * (extent.ndim - 1 - dim))
        for end, empty in enumerate(NOTHING):
            ends[:, end] = np.where(mask, ends[:, end], empty)
    if places.shape[1] == 1:
        ends = ends.squeeze(axis + 1)
    else:
        ends = merged(ends, (axis + 1,)).squeeze(axis + 1)
    return Extent(ends, extent.with_step(dim, step))


def window(
    extent: Extent, dim: int, length: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Extent:
    """Return that of a sliding window's `length` results along `dim`."""
    if not extent.varies(dim) or (kernel == stride == 1 and padding == 0):
        return extent
    places = np.arange(length)[:, None] * stride - padding + np.arange(kernel) * dilation
    return take(extent, dim, places, strided(extent.steps[dim], stride))


def transposed_window(
    extent: Extent, dim: int, length: int, kernel: int, stride: int, padding: int, dilation: int
) -> Extent:
    """Return that of a transposed convolution's `length` results along `dim`.

    A position is reached from where the forward convolution would have put it; one that none reaches sees nothing.
    """
    if not extent.varies(dim):
        return extent
    reach = np.arange(length)[:, None] + padding - np.arange(kernel) * dilation
    return take(extent, dim, reach // stride, finer(extent.steps[dim], stride), exists=reach % stride == 0)


def unfold(extent: Extent, dim: int, places: Places, stride: int, between: int) -> Extent:
    """Return that of windows along `dim`, whose taps stay apart in a new dimension at the end.

    Args:
        extent: of the tensor that is read.
        dim: the dimension.
        places: `(windows, taps)`.
        stride: positions between windows.
        between: positions between taps.
    """
    step = extent.steps[dim]
    if step is None:
        return Extent(extent.ends[..., None], (*extent.steps, None))
    ends = np.moveaxis(read(extent, dim, places), dim + 3, -1)
    return Extent(ends, (*extent.with_step(dim, strided(step, stride)), strided(step, between)))


def padded(extent: Extent, dim: int, before: int, after: int, manner: str) -> Extent:
    """Return that of a tensor with positions added (or, where negative, taken away) at both ends of `dim`."""
    if not extent.varies(dim):
        return extent
    length = extent.ends.shape[dim + 2]
    places = np.arange(-before, length + after)
    real = None
    if manner == "reflection":
        real = (length - 1) - np.abs((length - 1) - np.abs(places))
    elif manner == "replication":
        real = np.clip(places, 0, length - 1)
    return take(extent, dim, places[:, None], extent.steps[dim], real=None if real is None else real[:, None])


def resized_step(step: Step | None, scale: Fraction) -> Step | None:
    """Return the step of positions that are `scale` of the old ones apart."""
    if step is None or step[0] < 1:
        return step
    repeats = step[0] // gcd(step[0], scale.numerator)
    return scale.denominator * repeats, step[1] * scale.numerator * repeats // step[0]


def adaptive_places(length: int, count: int) -> Places:
    """Return the positions that each of `count` adaptive windows over `length` positions reads."""
    starts = np.arange(count) * length // count
    ends = -(-(np.arange(count) + 1) * length // count)
    taps: Sequence[int] = range(int((ends - starts).max()))
    places: Places = np.minimum(starts[:, None] + np.array(taps), ends[:, None] - 1)
    return places
