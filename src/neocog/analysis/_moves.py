"""How views and copies move intervals: reshaping, permuting, slicing, rolling, writing into a part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neocog.analysis._extents import (
    BRANCHES,
    IRREGULAR,
    ROWS,
    SEEN,
    Array,
    Extent,
    Step,
    choose_path,
    compact,
    finer,
    nothing,
    strided,
)


def view(extent: Extent, old: Sequence[int], new: Sequence[int]) -> Extent:
    """Return that of a tensor of shape `old` read as one of shape `new`."""
    if 0 in old:
        return nothing(len(new))
    shape: list[int] = []
    steps: list[Step | None] = []
    full = list(extent.ends.shape)
    unsure: list[int] = []
    # Dimensions that multiply up to the same count are regrouped among themselves; others are untouched.
    for olds, news in _groups(list(old), list(new)):
        varied = any(extent.varies(dim) for dim in olds)
        wide_old, wide_new = ([dim for dim in dims if size[dim] > 1] for dims, size in ((olds, old), (news, new)))
        if not varied or not news:
            shape += [1] * len(news)
            steps += [None] * len(news)
        elif len(wide_old) == len(wide_new) <= 1:
            place = wide_new[0] if wide_new else news[0]
            source = wide_old[0] if wide_old else next(dim for dim in olds if extent.varies(dim))
            shape += [extent.ends.shape[source + 2] if dim == place else 1 for dim in news]
            steps += [extent.steps[source] if dim == place else None for dim in news]
        else:
            for dim in olds:
                full[dim + 2] = old[dim]
            unsure += news
            shape += [new[dim] for dim in news]
            split = _split(_merge([(extent.steps[dim], old[dim]) for dim in olds]), [new[dim] for dim in news])
            steps += [step if new[dim] > 1 else None for dim, step in zip(news, split, strict=True)]
    ends = np.broadcast_to(extent.ends, full).reshape(ROWS, 2, *shape)
    moved = Extent(ends, tuple(steps))
    return told(compact(moved, unsure), unsure) if unsure else moved


def _merge(parts: Sequence[tuple[Step | None, int]]) -> Step | None:
    """Return the step along dimensions read as one, from their steps and lengths, outermost first."""
    step, length = parts[-1]
    for outer, count in reversed(parts[:-1]):
        if count == 1 and step is not None:
            pass
        elif step is None:
            step = finer(outer, length)
        elif outer is None:
            step = BRANCHES if step == BRANCHES else IRREGULAR
        elif step[0] < 1 or outer[0] < 1:
            step = IRREGULAR
        else:
            whole = strided(step, length)
            assert whole is not None
            step = step if whole[1] * outer[0] == outer[1] * whole[0] else IRREGULAR
        length *= count
    return step


def _split(step: Step | None, lengths: Sequence[int]) -> list[Step | None]:
    """Return the steps along dimensions that were read as one with `step`."""
    steps: list[Step | None] = []
    inner = 1
    for length in reversed(lengths):
        steps.insert(0, strided(step, inner))
        inner *= length
    return steps


LONGEST = 64
"""The longest period that is looked for; windows of attention are at most half as wide."""


def told(extent: Extent, dims: Sequence[int]) -> Extent:
    """Return an extent whose steps along `dims` are told from the intervals, where these repeat."""
    steps = list(extent.steps)
    for dim in dims:
        step = steps[dim]
        if step is not None and step != BRANCHES and extent.ends.shape[dim + 2] > 1:
            # A few lines along the dimension, from all over the tensor, stand for all.
            few = tuple(
                slice(None, None, 1 if at == dim else max(1, n // 4)) for at, n in enumerate(extent.ends.shape[2:])
            )
            ends = extent.ends[(slice(0, SEEN), slice(None), *few)]
            steps[dim] = _repeats(np.moveaxis(ends, dim + 2, -1), step)
    return Extent(extent.ends, tuple(steps))


def _repeats(ends: Array, claim: Step) -> Step:
    """Return how intervals repeat along the last axis: as `claim` says, if they do."""
    length = ends.shape[-1]
    lines = ends.reshape(-1, length)
    lines = lines[np.isfinite(lines[:, 0])]
    if not len(lines):
        return claim
    if 0 < claim[0] < length and _all_move(lines, *claim):
        return claim
    for period in range(1, min(length // 2, LONGEST) + 1):
        advance = lines[0, period] - lines[0, 0]
        # A position that sees everything is infinitely far from one that does not: that is no step.
        if np.isfinite(advance) and _all_move(lines, period, advance):
            return period, int(advance)
    return claim if claim[0] >= length and claim[1] else IRREGULAR


def _all_move(lines: Array, period: int, advance: float) -> bool:
    return bool((lines[:, period:] == lines[:, :-period] + np.float32(advance)).all())


def _groups(old: list[int], new: list[int]) -> list[tuple[list[int], list[int]]]:
    """Pair runs of dimensions of two shapes that hold equally many positions, each run as short as can be."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        olds, news = [], []
        left = right = 1
        if i < len(old):
            olds.append(i)
            left = old[i]
            i += 1
        if j < len(new):
            news.append(j)
            right = new[j]
            j += 1
        while left != right:
            if left < right:
                olds.append(i)
                left *= old[i]
                i += 1
            else:
                news.append(j)
                right *= new[j]
                j += 1
        if groups and not news and all(new[dim] == 1 for dim in groups[-1][1]):
            groups[-1][0].extend(olds)  # a map of one position, as one token
        else:
            groups.append((olds, news))
    return groups


def permute(extent: Extent, order: Sequence[int]) -> Extent:
    """Return that of a tensor with its dimensions in another order."""
    dims = [dim % extent.ndim for dim in order]
    ends = np.transpose(extent.ends, (0, 1, *(dim + 2 for dim in dims)))
    return Extent(ends, tuple(extent.steps[dim] for dim in dims))


def cut(extent: Extent, dim: int, places: slice) -> Extent:
    """Return that of every so-many-th position of a range along `dim`."""
    if not extent.varies(dim):
        return extent
    ends = extent.ends[(slice(None),) * (dim + 2) + (places,)]
    found = Extent(ends, extent.with_step(dim, strided(extent.steps[dim], places.step or 1)))
    return compact(found, [dim]) if found.steps[dim] == BRANCHES else found


def pick(extent: Extent, dim: int, place: int) -> Extent:
    """Return that of one position along `dim`, without the dimension."""
    ends = np.take(extent.ends, place if extent.varies(dim) else 0, axis=dim + 2)
    return Extent(ends, extent.steps[:dim] + extent.steps[dim + 1 :])


def without(extent: Extent, dims: Sequence[int]) -> Extent:
    """Return an extent without dimensions that hold one position."""
    gone = {dim % extent.ndim for dim in dims}
    ends = extent.ends.squeeze(tuple(dim + 2 for dim in gone))
    return Extent(ends, tuple(step for dim, step in enumerate(extent.steps) if dim not in gone))


def roll(extent: Extent, dim: int, shift: int) -> Extent:
    """Return that of a tensor rolled along `dim`.

    It is read as a move of the whole image, which goes on: what comes in at one end lies beyond the other. That is what
    shifted windows mean, whose masks keep apart what only the roll has made neighbours.
    """
    step = extent.steps[dim]
    if step is None:
        return extent
    axis, length = dim + 2, extent.ends.shape[dim + 2]
    ends = np.roll(extent.ends, shift, axis=axis)
    period, advance = step
    if period > 0 and length % period == 0:
        around = -((np.arange(length) - shift) // length) * (length // period * advance)
        move = around.astype(np.float32).reshape(length, *[1] * (extent.ndim - 1 - dim))
        ends -= move
    return Extent(ends, extent.steps)


def flip(extent: Extent, dims: Sequence[int]) -> Extent:
    """Return that of a tensor read backwards along some dimensions."""
    chosen = {dim % extent.ndim for dim in dims}
    ends = np.flip(extent.ends, axis=tuple(dim + 2 for dim in chosen))
    steps = [(s[0], -s[1]) if dim in chosen and s is not None else s for dim, s in enumerate(extent.steps)]
    return Extent(ends, tuple(steps))


def tile(extent: Extent, counts: Sequence[int]) -> Extent:
    """Return that of a tensor repeated along each dimension."""
    repeated = [count if extent.varies(dim) else 1 for dim, count in enumerate(counts)]
    steps = [IRREGULAR if count > 1 else step for step, count in zip(extent.steps, repeated, strict=True)]
    return Extent(np.tile(extent.ends, (1, 1, *repeated)), tuple(steps))


def written(base: Extent, part: Extent, dim: int, length: int, places: slice) -> Extent:
    """Return that of a tensor after `part` was written over a range of its positions along `dim`."""
    shape = np.broadcast_shapes(
        (*base.ends.shape[: dim + 2], 1, *base.ends.shape[dim + 3 :]),
        (*part.ends.shape[: dim + 2], 1, *part.ends.shape[dim + 3 :]),
    )
    ends = np.empty((*shape[: dim + 2], length, *shape[dim + 3 :]), np.float32)
    ends[:] = base.ends
    ends[(slice(None),) * (dim + 2) + (places,)] = part.ends
    steps = [one if one is not None else two for one, two in zip(base.steps, part.steps, strict=True)]
    if base.steps[dim] in (None, BRANCHES) and part.steps[dim] in (None, BRANCHES):
        choose_path(ends, dim)
        steps[dim] = BRANCHES
    return compact(Extent(ends, tuple(steps)), [dim])
