"""Where in the image each position of a tensor looks: intervals along an axis, and how they join and merge.

An `Extent` belongs to one tensor and one axis of the image (its rows, say). For each position of the tensor it holds
the first and the last row that can reach it, as an array that broadcasts to the tensor's shape: a map's rows vary along
its third dimension only, so that the array is `(1, 1, H, 1)`; patches in a row of tokens vary along the tokens. Moving
numbers around (views, permutations, windows, rolls) moves the intervals alike, and nothing needs to be known about
layers. Rows beyond the image are counted on, as if it went on for ever: what padding adds is part of a field.

Windows are in `_sliding`, views and copies in `_moves`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

UNION, SMALLEST, LARGEST, LOCAL, SEEN = range(5)
"""What an extent knows of each position.

All paths together; the path that sees least; the one that sees most; all paths that go past what sees the whole image
(gates, attention); and, other than these, what is really seen, where padding holds nothing and the image ends.
"""

ROWS = 5
NOTHING = (np.inf, -np.inf)

Step = tuple[int, int]
"""How positions repeat along a dimension: after so many of them, the field has moved by so many pixels."""

IRREGULAR: Step = (0, 0)
"""Positions see different things, and none can be told from another."""

BRANCHES: Step = (-1, 0)
"""The same, of tensors put side by side: a path leads through one of them."""


@dataclass(frozen=True, eq=False)
class Extent:
    """Intervals along one axis of the image.

    Attributes:
        ends: `(5, 2, *shape)`: for each of `UNION` to `SEEN` the first and the last index that reaches a position;
            `shape` broadcasts to the tensor's. Infinite where the whole axis does; the first above the last where
            nothing does.
        steps: for each dimension of the tensor how the field moves along it; None where all positions see the same.
    """

    ends: Array
    steps: tuple[Step | None, ...]

    @property
    def ndim(self) -> int:
        """Dimensions of the tensor."""
        return len(self.steps)

    def varies(self, dim: int) -> bool:
        """Say whether positions along a dimension of the tensor see different things."""
        return self.steps[dim] is not None

    def with_step(self, dim: int, step: Step | None) -> tuple[Step | None, ...]:
        """Return the steps with one of them changed."""
        dim %= self.ndim
        return (*self.steps[:dim], step, *self.steps[dim + 1 :])


class Sum(Extent):
    """The extent of a sum that is not worked out until somebody asks for its intervals.

    A matrix of logits, which is as large as the square of the tokens, sees at (i, j) what query i and key j see. What
    follows, down to the softmax over j, can be done for queries and keys apart.
    """

    def __init__(self, parts: tuple[Extent, ...]) -> None:
        steps = parts[0].steps
        for part in parts[1:]:
            steps = tuple(_common(one, two) for one, two in zip(steps, part.steps, strict=True))
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "steps", steps)

    parts: tuple[Extent, ...]

    @cached_property
    def ends(self) -> Array:
        """See `Extent`."""
        ends = self.parts[0].ends
        for part in self.parts[1:]:
            ends = _joined(*np.broadcast_arrays(ends, part.ends))
        return ends


LARGE = 20_000
"""Positions from which on a sum is left open, if its terms have far fewer."""


def changed(extent: Extent, change: Callable[[Extent], Extent]) -> Extent:
    """Return an extent changed in a way that may as well be done to the terms of a sum."""
    if isinstance(extent, Sum):
        return join([change(part) for part in extent.parts])
    return change(extent)


def image_extent(shape: Sequence[int], dim: int) -> Extent:
    """Return that of an image, each of whose positions along `dim` sees itself."""
    along = [1] * len(shape)
    along[dim] = shape[dim]
    ends = np.empty((ROWS, 2, *along), np.float32)
    ends[:] = np.arange(shape[dim], dtype=np.float32).reshape(along)
    return Extent(ends, tuple((1, 1) if at == dim else None for at in range(len(shape))))


def nothing(ndim: int) -> Extent:
    """Return that of a tensor that the image does not reach."""
    ends = np.empty((ROWS, 2, *[1] * ndim), np.float32)
    ends[:, 0], ends[:, 1] = NOTHING
    return Extent(ends, (None,) * ndim)


def strided(step: Step | None, stride: int) -> Step | None:
    """Return the step between every `stride`-th position."""
    if step is None or step[0] < 1:
        return step
    common = gcd(step[0], stride)
    return step[0] // common, step[1] * stride // common


def finer(step: Step | None, factor: int) -> Step | None:
    """Return the step where `factor` positions stand for each."""
    return step if step is None or step[0] < 1 else (step[0] * factor, step[1])


def aligned(extent: Extent, ndim: int) -> Extent:
    """Return an extent for a tensor with leading dimensions added, as broadcasting adds them."""
    missing = ndim - extent.ndim
    if missing <= 0:
        return extent
    ends = extent.ends.reshape(ROWS, 2, *[1] * missing, *extent.ends.shape[2:])
    return Extent(ends, (None,) * missing + extent.steps)


def join(extents: Sequence[Extent]) -> Extent:
    """Return that of a position which several tensors' positions reach: a sum, a product."""
    ndim = max(extent.ndim for extent in extents)
    terms: list[Extent] = []
    for extent in extents:
        parts = extent.parts if isinstance(extent, Sum) else (extent,)
        for part in (aligned(part, ndim) for part in parts):
            same = next((at for at, term in enumerate(terms) if term.ends.shape == part.ends.shape), None)
            if same is None:
                terms.append(part)
            elif terms[same].ends is not part.ends:
                terms[same] = _sum_of(terms[same], part)
    whole = prod(np.broadcast_shapes(*(term.ends.shape[2:] for term in terms)))
    if whole > LARGE and whole > 4 * sum(prod(term.ends.shape[2:]) for term in terms):
        return Sum(tuple(terms))
    result = terms[0]
    for other in terms[1:]:
        result = _sum_of(result, other)
    return result


def _sum_of(one: Extent, two: Extent) -> Extent:
    steps = tuple(_common(mine, its) for mine, its in zip(one.steps, two.steps, strict=True))
    return Extent(_joined(*np.broadcast_arrays(one.ends, two.ends)), steps)


def _joined(one: Array, two: Array) -> Array:
    ends = np.empty(one.shape, np.float32)
    np.minimum(one[:, 0], two[:, 0], out=ends[:, 0])
    np.maximum(one[:, 1], two[:, 1], out=ends[:, 1])
    paths = slice(SMALLEST, LOCAL + 1)
    width, its = one[paths, 1] - one[paths, 0], two[paths, 1] - two[paths, 0]
    least, most, local = 0, 1, 2
    keep = (its[least] < 0) | ((width[least] >= 0) & (width[least] <= its[least]))
    for row, first in ((SMALLEST, keep), (LARGEST, width[most] >= its[most])):
        np.copyto(ends[row], two[row])
        np.copyto(ends[row], one[row], where=first)
    whole, its_whole = np.isposinf(width[local]), np.isposinf(its[local])
    if whole.any() or its_whole.any():
        np.copyto(ends[LOCAL], two[LOCAL], where=whole & (its[local] >= 0))
        np.copyto(ends[LOCAL], one[LOCAL], where=its_whole & ~whole & (width[local] >= 0))
    return ends


def _common(one: Step | None, two: Step | None) -> Step | None:
    """Return the step of a sum, from those of its terms."""
    if one is None or two is None or one == two:
        return two if one is None else one
    if one[0] < 1 or two[0] < 1:
        return max(one, two) if max(one, two)[0] > 0 else IRREGULAR
    if one[1] * two[0] != two[1] * one[0]:
        return min(one, two)
    periods = one[0] * two[0] // gcd(one[0], two[0])
    return periods, one[1] * periods // one[0]


def beside(extents: Sequence[Extent], lengths: Sequence[int], dim: int) -> Extent:
    """Return that of tensors put one after the other along `dim`."""
    if all(np.array_equal(extent.ends, extents[0].ends) for extent in extents) and not extents[0].varies(dim):
        return extents[0]
    shapes = [(*extent.ends.shape[: dim + 2], 1, *extent.ends.shape[dim + 3 :]) for extent in extents]
    common = np.broadcast_shapes(*shapes)
    # In memory the dimension comes last: what follows most often is to merge it, which is then ten times faster.
    row = np.empty((*common[: dim + 2], *common[dim + 3 :], sum(lengths)), np.float32)
    ends = np.moveaxis(row, -1, dim + 2)
    start = 0
    for extent, length in zip(extents, lengths, strict=True):
        row[..., start : start + length] = np.moveaxis(extent.ends, dim + 2, -1)
        start += length
    along = [extent.steps[dim] for extent in extents]
    steps = list(extents[0].steps)
    for extent in extents[1:]:
        steps = [_common(one, two) for one, two in zip(steps, extent.steps, strict=True)]
    if all(step is None or step == BRANCHES for step in along):
        choose_path(ends, dim)
        steps[dim] = BRANCHES
    else:
        steps[dim] = IRREGULAR
    return Extent(ends, tuple(steps))


def choose_path(ends: Array, dim: int) -> None:
    """Let the paths that see least and most lead through one of the positions along `dim`, in place."""
    for row in (SMALLEST, LARGEST):
        width = ends[row, 1] - ends[row, 0]
        if row == SMALLEST:
            width = -np.where(width < 0, np.inf, width)
        best = np.expand_dims(width.argmax(dim), (0, dim + 1))
        ends[row] = np.take_along_axis(ends[row], best, axis=dim + 1)


def merged(ends: Array, axes: tuple[int, ...]) -> Array:
    """Return the ends of all positions along some axes of `ends` together; the axes stay, with one position."""
    places = tuple(axis - 1 for axis in axes)
    result = np.stack([ends[:, 0].min(places, keepdims=True), ends[:, 1].max(places, keepdims=True)], axis=1)
    low, high = ends[LOCAL]
    whole = np.isposinf(high) & np.isneginf(low)
    if whole.any():
        # A path through what sees everything counts only where there is no other.
        places = tuple(axis - 2 for axis in axes)
        first = np.where(whole, np.inf, low).min(places, keepdims=True)
        last = np.where(whole, -np.inf, high).max(places, keepdims=True)
        only = whole.any(places, keepdims=True) & (first > last)
        result[LOCAL, 0], result[LOCAL, 1] = np.where(only, -np.inf, first), np.where(only, np.inf, last)
    return result


def reduce(extent: Extent, dims: Sequence[int], *, whole: bool = True) -> Extent:
    """Return that of a position which all positions along `dims` reach; the dimensions stay, with one position.

    Where nothing is left that moves along the axis, a position sees the whole of it, unless `whole` says that it is to
    be bounded by what the parts see.
    """
    chosen = {dim % extent.ndim for dim in dims}
    if not any(extent.varies(dim) for dim in chosen):
        return extent
    ends = merged(extent.ends, tuple(dim + 2 for dim in chosen))
    steps = tuple(None if dim in chosen else step for dim, step in enumerate(extent.steps))
    left = [dim for dim, step in enumerate(steps) if step is not None]
    if whole:
        _open(ends, [dim for dim in left if steps[dim] != BRANCHES])
    return compact(Extent(ends, steps), left)


def _open(ends: Array, dims: Sequence[int]) -> None:
    """Make infinite, in place, what does not move along any of `dims`."""
    if any(ends.shape[dim + 2] == 1 for dim in dims):
        return  # a map of one position is one only because the image is small
    start = ends
    for dim in dims:
        start = start[(slice(None),) * (dim + 2) + (slice(0, 1),)]
    for row in (UNION, SMALLEST, LARGEST, LOCAL):
        if not dims or (ends[row] == start[row]).all():
            reached = ends[row, 0] <= ends[row, 1]
            ends[row, 0][reached], ends[row, 1][reached] = -np.inf, np.inf


def compact(extent: Extent, dims: Sequence[int]) -> Extent:
    """Return an extent without the variation along dimensions whose positions all see the same."""
    ends, steps = extent.ends, list(extent.steps)
    for dim in dims:
        if ends.shape[dim + 2] > 1:
            first = np.take(ends, [0], axis=dim + 2)
            if (ends == first).all():
                ends, steps[dim] = first, None
    return Extent(ends, tuple(steps)) if ends is not extent.ends else extent
