"""How views, copies, concatenation and splitting carry receptive fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neocog.analysis import _extents as ex
from neocog.analysis import _moves, _sliding
from neocog.analysis._extents import Extent
from neocog.analysis._reach_types import Field, Lookup, Rule, each, moving
from neocog.analysis.record import Operation, Value


def _view(operation: Operation, extent: Extent) -> Extent:
    return _moves.view(extent, operation.args[0].shape, operation.outputs[0].shape)


def _permute(operation: Operation, extent: Extent) -> Extent:
    return _moves.permute(extent, operation.args[1])


def _transpose(operation: Operation, extent: Extent) -> Extent:
    if extent.ndim < 2:
        return extent
    one, other = (operation.args[1], operation.args[2]) if len(operation.args) > 2 else (0, 1)
    order = list(range(extent.ndim))
    order[one], order[other] = order[other], order[one]
    return _moves.permute(extent, order)


def _expand(operation: Operation, extent: Extent) -> Extent:
    return ex.aligned(extent, len(operation.outputs[0].shape))


def slice_of(operation: Operation) -> tuple[int, slice]:
    """Return the dimension and the range that a "slice" reads."""
    dim = operation.argument(1, "dim", 0) % len(operation.args[0].shape)
    return dim, slice(operation.argument(2, "start"), operation.argument(3, "end"), operation.argument(4, "step", 1))


def _slice(operation: Operation, extent: Extent) -> Extent:
    return _moves.cut(extent, *slice_of(operation))


def _select(operation: Operation, extent: Extent) -> Extent:
    return _moves.pick(extent, operation.args[1] % extent.ndim, operation.args[2])


def _roll(operation: Operation, extent: Extent) -> Extent:
    shifts, dims = operation.args[1], operation.argument(2, "dims", ())
    if not dims:  # of the numbers in a row
        shape = operation.args[0].shape
        row = _moves.view(extent, shape, [operation.args[0].numel])
        return _moves.view(_moves.roll(row, 0, shifts[0]), [operation.args[0].numel], shape)
    for shift, dim in zip(shifts, dims, strict=True):
        extent = _moves.roll(extent, dim % extent.ndim, shift)
    return extent


def _flip(operation: Operation, extent: Extent) -> Extent:
    return _moves.flip(extent, operation.args[1])


def _pad(operation: Operation, extent: Extent) -> Extent:
    amounts = operation.args[1]
    manner = operation.name.partition("_")[0]
    for place in range(len(amounts) // 2):
        before, after = amounts[2 * place : 2 * place + 2]
        extent = _sliding.padded(extent, extent.ndim - 1 - place, before, after, manner)
    return extent


def _repeat(operation: Operation, extent: Extent) -> Extent:
    return _moves.tile(ex.aligned(extent, len(operation.outputs[0].shape)), operation.args[1])


def _shuffle_up(operation: Operation, extent: Extent) -> Extent:
    """(N, C r r, H, W) to (N, C, H r, W r)."""
    (*lead, channels, height, width), r = operation.args[0].shape, operation.args[1]
    n = len(lead)
    extent = _moves.view(extent, (*lead, channels, height, width), (*lead, channels // r**2, r, r, height, width))
    extent = _moves.permute(extent, (*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    return _moves.view(extent, (*lead, channels // r**2, height, r, width, r), operation.outputs[0].shape)


def _shuffle_down(operation: Operation, extent: Extent) -> Extent:
    """(N, C, H r, W r) to (N, C r r, H, W)."""
    (*lead, channels, height, width), r = operation.args[0].shape, operation.args[1]
    n, shape = len(lead), (*lead, channels, height, width)
    extent = _moves.view(extent, shape, (*lead, channels, height // r, r, width // r, r))
    extent = _moves.permute(extent, (*range(n + 1), n + 2, n + 4, n + 1, n + 3))
    return _moves.view(extent, (*lead, channels, r, r, height // r, width // r), operation.outputs[0].shape)


def _shuffle_channels(operation: Operation, extent: Extent) -> Extent:
    (batch, channels, *size), groups = operation.args[0].shape, operation.args[1]
    extent = _moves.view(extent, (batch, channels, *size), (batch, groups, channels // groups, *size))
    extent = _moves.permute(extent, (0, 2, 1, *range(3, extent.ndim)))
    return _moves.view(extent, (batch, channels // groups, groups, *size), operation.outputs[0].shape)


def _diagonal(operation: Operation, extent: Extent) -> Extent:
    """Of few uses: the diagonal is taken for all of both dimensions."""
    one, other = operation.argument(2, "dim1", 0), operation.argument(3, "dim2", 1)
    left = _moves.without(ex.reduce(extent, [one, other], whole=False), [one, other])
    return Extent(left.ends[..., None], (*left.steps, None))


def _as_complex(operation: Operation, extent: Extent) -> Extent:
    """(..., 2) to complex numbers, each made of both."""
    return _moves.without(ex.reduce(extent, [-1], whole=False), [-1])


def _as_real(operation: Operation, extent: Extent) -> Extent:
    return Extent(extent.ends[..., None], (*extent.steps, None))


def _split(operation: Operation, of: Lookup) -> list[Field | None]:
    field = of(operation.args[0])
    if field is None:
        return [None] * len(operation.outputs)
    return [each(field, lambda extent, part=part: part_of(extent, part)) for part in parts_of(operation)]  # type: ignore[misc]


Part = tuple[int, int | slice]
"""A dimension, and the position (which goes with the dimension) or range of positions that a view of it shows."""


def parts_of(operation: Operation) -> list[Part]:
    """Return what each output of a split shows."""
    shape = operation.args[0].shape
    if operation.name == "unbind":
        dim = operation.argument(1, "dim", 0) % len(shape)
        return [(dim, place) for place in range(shape[dim])]
    dim = operation.argument(2, "dim", 0) % len(shape)
    parts: list[Part] = []
    start = 0
    for value in operation.outputs:
        parts.append((dim, slice(start, start + value.shape[dim])))
        start += value.shape[dim]
    return parts


def part_of(extent: Extent, part: Part) -> Extent:
    """Return the extent of a part of a tensor."""
    dim, places = part
    return _moves.pick(extent, dim, places) if isinstance(places, int) else _moves.cut(extent, dim, places)


def _concatenate(operation: Operation, of: Lookup) -> list[Field | None]:
    values: tuple[Value, ...] = operation.args[0]
    fields = [of(value) for value in values]
    axes = next((len(field) for field in fields if field is not None), 0)
    if not axes:
        return [None]
    shape = operation.outputs[0].shape
    dim = operation.argument(1, "dim", 0) % len(shape)
    lengths = [1 if operation.name == "stack" else value.shape[dim] for value in values]

    def extent_of(field: Field | None, axis: int) -> Extent:
        if field is None:
            return ex.nothing(len(shape))
        extent = field[axis]
        if operation.name != "stack":
            return extent
        return Extent(np.expand_dims(extent.ends, dim + 2), (*extent.steps[:dim], None, *extent.steps[dim:]))

    kept = [at for at, value in enumerate(values) if len(value.shape) == len(shape) or operation.name == "stack"]
    return [
        tuple(
            ex.beside([extent_of(fields[at], axis) for at in kept], [lengths[at] for at in kept], dim)
            for axis in range(axes)
        )
    ]


def _scattered(operation: Operation, of: Lookup) -> list[Field | None]:
    """`slice_scatter` and `select_scatter`: a copy with a part overwritten."""
    base, part = of(operation.args[0]), of(operation.args[1])
    shape = operation.args[0].shape
    dim = operation.argument(2, "dim", 0) % len(shape)
    places: int | slice = operation.argument(3, "index")
    if operation.name == "slice_scatter":
        places = slice(operation.argument(3, "start"), operation.argument(4, "end"), operation.argument(5, "step", 1))
    return [overwritten(base, part, shape, (dim, places))]


def overwritten(base: Field | None, part: Field | None, shape: Sequence[int], where: Part) -> Field | None:
    """Return the field of a tensor of a shape after a part of it was overwritten."""
    known = base or part
    if known is None:
        return None
    dim, places = where
    base = base or (ex.nothing(len(shape)),) * len(known)
    part = part or (ex.nothing(len(shape) - isinstance(places, int)),) * len(known)
    if isinstance(places, int):
        part = each(
            part,
            lambda e: Extent(np.expand_dims(e.ends, dim + 2), (*e.steps[:dim], None, *e.steps[dim:])),
        )
        places %= shape[dim]
        places = slice(places, places + 1)
    pairs = zip(base, part, strict=True)
    return tuple(_moves.written(one, two, dim, shape[dim], places) for one, two in pairs)


VIEWS = frozenset("""
    view _unsafe_view reshape _reshape_alias squeeze unsqueeze permute transpose t slice select split split_with_sizes
    unbind alias detach squeeze_ unsqueeze_ transpose_ t_
""".split())  # fmt: skip
"""Operations whose output is a part of the same memory that can be found again in it."""

MOVES: dict[str, Rule] = {
    **dict.fromkeys(
        ["view", "_unsafe_view", "_reshape_alias", "reshape", "squeeze", "squeeze_", "unsqueeze", "unsqueeze_"],
        moving(_view),
    ),
    "permute": moving(_permute),
    **dict.fromkeys(["transpose", "transpose_", "t", "t_"], moving(_transpose)),
    "expand": moving(_expand),
    "slice": moving(_slice),
    "select": moving(_select),
    "roll": moving(_roll),
    "flip": moving(_flip),
    "repeat": moving(_repeat),
    "diagonal": moving(_diagonal),
    "view_as_complex": moving(_as_complex),
    "view_as_real": moving(_as_real),
    **dict.fromkeys(
        [f"{manner}_pad{count}d" for manner in ("reflection", "replication") for count in (1, 2, 3)]
        + ["constant_pad_nd"],
        moving(_pad),
    ),
    "pixel_shuffle": moving(_shuffle_up),
    "pixel_unshuffle": moving(_shuffle_down),
    **dict.fromkeys(["channel_shuffle", "native_channel_shuffle"], moving(_shuffle_channels)),
    "cat": _concatenate,
    "stack": _concatenate,
    **dict.fromkeys(["split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "unbind"], _split),
    **dict.fromkeys(["slice_scatter", "select_scatter"], _scattered),
}
"""Their rules, by torch's names."""
