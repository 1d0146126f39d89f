"""`receptive_fields`: how much of the image each layer sees, read from a trace.

The field of an output is the smallest rectangle of input pixels outside of which nothing can move it. It is computed
exactly, position by position, through whatever operations ran: branches, dilation, pooling, transposed convolution,
residual sums, windows of attention. Norms count as if their statistics were fixed, and what padding adds counts, as
if the image went on.

For a plain chain of layers with kernels k and strides s the size is 1 + sum((k_l - 1) * s_1 * ... * s_(l-1)): see
Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019, whose stride,
padding and centre these are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from neocog.analysis._extents import (
    BRANCHES,
    LARGEST,
    LOCAL,
    ROWS,
    SEEN,
    SMALLEST,
    UNION,
    Array,
    Extent,
    Sum,
    join,
    merged,
)
from neocog.analysis._follow import follow
from neocog.analysis._reach import Field
from neocog.analysis.record import Trace
from neocog.analysis.units import Level, cut
from neocog.errors import UnknownNameError, UsageError

Interval = tuple[float, float]


@dataclass(frozen=True)
class ReceptiveField:
    """What one layer sees, along each axis of the image: rows, then columns.

    Sizes are of the position in the middle of the layer's output; at the border of a window of attention (Swin) or
    between the taps of a transposed convolution others differ: `at` gives each.

    Attributes:
        name: of the layer, as in `Row`.
        kind: its class.
        shape: of its output.
        size: pixels that it sees; infinite where it sees all ("global").
        stride: pixels between the fields of neighbouring positions; 0 where all see the same.
        padding: pixels by which the first position's field begins before the image; of its local part, where it is
            global.
        centre: of that field, in pixels, 0 being the middle of the image's first pixel.
        smallest: the size along the path that sees least, such as the one past every gate and residual branch.
        largest: the size along the path that sees most.
        local: the size along all paths that go past what sees the whole image, such as gates, attention and global
            pooling; infinite where none does.
        grid: the dimensions of the output along which the field moves: height and width of a map, or the tokens.
        image: height and width of the image.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    size: tuple[float, ...]
    stride: tuple[float, ...]
    padding: tuple[float, ...]
    centre: tuple[float, ...]
    smallest: tuple[float, ...]
    largest: tuple[float, ...]
    local: tuple[float, ...]
    grid: tuple[int, ...]
    image: tuple[int, ...]
    extents: Field = field(repr=False)

    @property
    def is_global(self) -> bool:
        """Whether it sees the whole image, however large."""
        return all(math.isinf(size) for size in self.size)

    def at(self, *position: int, local: bool = False) -> tuple[Interval, ...]:
        """Return the first and last pixel, along each axis, that reach a position of the output.

        Pixels before 0 and beyond the image are padding's (where a network rolls its maps, the opposite border's). An
        axis that is seen whole is from minus infinity to infinity; where nothing is seen, the first is above the last.

        Args:
            position: an index for each dimension of `grid`, such as `(row, column)` of a map or the number of a token;
                none where all positions see the same. An index for each dimension of the output will do too.
            local: only along paths that go past what sees the whole image.

        Raises:
            UsageError: there is no such position; the message says which there are.
        """
        place = self._place(position)
        ends = [_ends(extent, place)[LOCAL if local else UNION] for extent in self.extents]
        return tuple((float(low), float(high)) for low, high in ends)

    def seen(self, *position: int) -> tuple[tuple[int, int], ...] | None:
        """Return the first and last pixel of this image, along each axis, that reach a position; None where none does.

        Where `at` counts as if the image went on, here it ends: padding holds nothing, and what a stride has left over
        at the border is not seen.

        Args:
            position: as in `at`.
        """
        place = self._place(position)
        ends = [_ends(extent, place)[SEEN] for extent in self.extents]
        clipped = [(max(low, 0.0), min(high, size - 1.0)) for (low, high), size in zip(ends, self.image, strict=True)]
        if any(low > high for low, high in clipped):
            return None
        return tuple((int(low), int(high)) for low, high in clipped)

    def _place(self, position: Sequence[int]) -> tuple[int, ...]:
        """Return an index for each dimension of the output, 0 where it does not matter."""
        place = [0] * len(self.shape)
        if len(position) == len(self.shape):
            dims: Sequence[int] = range(len(self.shape))
        elif len(position) == len(self.grid):
            dims = self.grid
        elif not self.grid and len(position) == len(self.image):
            dims = range(len(self.shape))[-len(position) :]  # of a map all of whose positions see the same
        else:
            dims = ()
        for dim, index in zip(dims, position, strict=False):
            place[dim] = index
        if len(dims) != len(position) or any(not 0 <= p < n for p, n in zip(place, self.shape, strict=True)):
            size = " x ".join(str(self.shape[dim]) for dim in self.grid) or "1"
            asked = tuple(position)
            raise UsageError(f"{self.name} has no position {asked}: it has {size}, in an output of {self.shape}")
        return tuple(p if dim in self.grid else 0 for dim, p in enumerate(place))


@dataclass(frozen=True)
class Fields:
    """The receptive fields of a network's layers.

    Attributes:
        rows: one for each layer that the image reaches, in the order of execution.
        unknown: where fields could not be followed: the operation without a rule, and the layer that it ran in.
        lost: the layers that have no row since they depend on such an operation.
    """

    rows: tuple[ReceptiveField, ...]
    unknown: tuple[tuple[str, str], ...] = ()
    lost: tuple[str, ...] = ()

    def of(self, name: str) -> ReceptiveField:
        """Return the field of a layer, of its last call where it ran more than once.

        Raises:
            UnknownNameError: there is no such layer; the message names the near ones.
            UsageError: the layer depends on an operation that could not be followed, which the message names.
        """
        for row in reversed(self.rows):
            if row.name == name:
                return row
        if name in self.lost:
            reasons = ", ".join(f"{operation} in {path or 'the network'}" for operation, path in self.unknown)
            raise UsageError(f"the field of {name} is not known: it depends on what has no rule: {reasons}")
        raise UnknownNameError("layer", name, dict.fromkeys(row.name for row in self.rows))


def receptive_fields(trace: Trace, level: Level = "layer") -> Fields:
    """Compute what each layer, block or stage of a traced network sees.

        >>> receptive_fields(trace_forward(create_model("resnet18"))).of("layer4.1.conv2").size
        (435.0, 435.0)

    At the level of layers, modules that hold others are there too, by what they return. What functions make of a
    layer's output has a row only where it is the network's own output.

    Args:
        trace: a forward pass on an image `(N, C, H, W)`; one of a sequence or a volume has one axis or three.
        level: of the rows.
    """
    state = follow(trace)
    if level == "layer":
        # Calls are listed as they begin; a module that holds others has its output after theirs.
        ended = sorted(trace.calls, key=lambda call: (call.end, -call.path.count("."), call.index))
        pieces = [(call.path, call.kind, call.outputs[0]) for call in ended if call.path and call.outputs]
        for last in cut(trace)[-1:]:
            if last.output not in [output for _, _, output in pieces]:
                pieces.append((last.name, last.kind, last.output))
    else:
        pieces = [(unit.name, unit.kind, unit.output) for unit in cut(trace, level)]
    image = trace.inputs[0].shape[2:]
    known: dict[tuple[int, tuple[int, ...]], ReceptiveField] = {}
    rows = []
    for name, kind, output in pieces:
        reached = state.fields.get(output)
        if reached is not None:
            key = id(reached), output.shape  # a norm and an activation see what their convolution sees
            if key not in known:
                known[key] = _row(name, kind, output.shape, image, reached)
            rows.append(replace(known[key], name=name, kind=kind))
    lost = dict.fromkeys(name for name, _, output in pieces if output in state.lost)
    return Fields(tuple(rows), tuple(state.unknown), tuple(lost))


def _row(name: str, kind: str, shape: tuple[int, ...], image: tuple[int, ...], reached: Field) -> ReceptiveField:
    grid = _grid(reached, len(image))
    extents = tuple(_only(extent, grid) for extent in reached)
    middle = tuple(length // 2 if dim in grid else 0 for dim, length in enumerate(shape))
    first = (0,) * len(shape)

    ends = np.stack([_ends(extent, middle) for extent in extents])
    with np.errstate(invalid="ignore"):
        sizes = np.where(ends[..., 0] <= ends[..., 1], ends[..., 1] - ends[..., 0] + 1, 0.0)
    starts = [
        _ends(extent, first)[LOCAL if math.isinf(size[UNION]) else UNION]
        for extent, size in zip(extents, sizes, strict=True)
    ]
    return ReceptiveField(
        name=name,
        kind=kind,
        shape=shape,
        size=_floats(sizes[:, UNION]),
        stride=tuple(_stride(extents, axis) for axis in range(len(extents))),
        padding=_floats(0.0 - low if math.isfinite(low) else math.nan for low, _ in starts),
        centre=_floats((low + high) / 2 if math.isfinite(low) else math.nan for low, high in starts),
        smallest=_floats(sizes[:, SMALLEST]),
        largest=_floats(sizes[:, LARGEST]),
        local=_floats(sizes[:, LOCAL]),
        grid=grid,
        image=image,
        extents=extents,
    )


def _grid(reached: Field, axes: int) -> tuple[int, ...]:
    """Return the dimensions that positions are counted along: of a map its height and width, not its channels."""
    ndim = reached[0].ndim
    varying = tuple(dim for dim in range(ndim) if any(extent.varies(dim) for extent in reached))
    if ndim != axes + 2 or 0 in varying:
        return varying
    layouts = [tuple(range(2, ndim)), tuple(range(1, ndim - 1))]  # (N, C, H, W) and (N, H, W, C)
    counts = [_along(reached, dims) for dims in layouts]
    if max(counts) > 0:
        return layouts[counts.index(max(counts))]
    return () if all(extent.steps[1] == BRANCHES for extent in reached if extent.varies(1)) else varying


def _along(reached: Field, dims: Sequence[int]) -> int:
    """Rate a layout by the axes that move along the dimension that is theirs; 0 where it cannot be meant."""
    own = sum(extent.varies(dim) for extent, dim in zip(reached, dims, strict=True))
    others = sum(extent.varies(dim) for at, extent in enumerate(reached) for dim in dims if dim != dims[at])
    return 2 * own - others if own == len(dims) or not others else 0


def _only(extent: Extent, grid: Sequence[int]) -> Extent:
    """Return an extent that varies along the grid only: channels that see different things count together."""
    others = tuple(dim for dim in range(extent.ndim) if dim not in grid and extent.varies(dim))
    if not others:
        return extent
    ends = merged(extent.ends, tuple(dim + 2 for dim in others))
    return Extent(ends, tuple(None if dim in others else step for dim, step in enumerate(extent.steps)))


def _stride(extents: Field, axis: int) -> float:
    """Return the pixels between neighbours: where positions of all axes are in one row (tokens), of different ones."""
    extent = extents[axis]
    moving = [dim for dim in range(extent.ndim) if extent.varies(dim)]
    if not moving:
        return 0.0
    shared = any(other.varies(dim) for dim in moving for other in extents if other is not extent)
    period, advance = extent.steps[moving[0]] or (0, 0)
    if len(moving) == 1 and not shared and period > 0 and advance:
        return abs(advance) / period
    ends = extent.parts[0].ends if isinstance(extent, Sum) else extent.ends
    rows = [np.unique(ends[row, 0]) for row in (UNION, LOCAL, SMALLEST)]
    starts = max((row[np.isfinite(row)] for row in rows), key=len)
    return float(np.median(np.diff(starts))) if len(starts) > 1 else 0.0


def _ends(extent: Extent, position: Sequence[int]) -> Array:
    """Return the first and last pixel of a position, `(5, 2)`."""
    if isinstance(extent, Sum):
        return join([Extent(_ends(part, position), ()) for part in extent.parts]).ends
    place = tuple(p if n > 1 else 0 for p, n in zip(position, extent.ends.shape[2:], strict=True))
    ends: Array = extent.ends.reshape(ROWS * 2, -1)[:, np.ravel_multi_index(place, extent.ends.shape[2:])]
    return ends.reshape(ROWS, 2)


def _floats(numbers: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)
