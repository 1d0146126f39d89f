"""The arithmetic of intervals: chains against the formula and against sets of pixels, joins, views, rolls."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from neocog.analysis import _extents as ex
from neocog.analysis import _moves, _sliding
from neocog.analysis._extents import BRANCHES, LARGEST, LOCAL, ROWS, SEEN, SMALLEST, UNION, Extent

Reach = Callable[[int], set[int]]
"""The pixels that a position sees, on an image without end."""


def row_of(length: int) -> Extent:
    """An image of one axis, (N, C, L)."""
    return ex.image_extent((1, 1, length), 2)


def ends(extent: Extent, row: int = UNION) -> list[tuple[float, float]]:
    return [(float(low), float(high)) for low, high in extent.ends[row].reshape(2, -1).T]


# Chains


@pytest.mark.parametrize("seed", range(40))
def test_a_chain_has_the_size_stride_padding_and_centre_of_the_formula(seed):
    draw = random.Random(seed)
    extent, length = row_of(400), 400
    size, jump, padding = 1, 1, 0
    for _ in range(draw.randint(1, 6)):
        kernel, stride, pad, dilation = draw.randint(1, 7), draw.randint(1, 3), draw.randint(0, 3), draw.randint(1, 3)
        window = (kernel - 1) * dilation + 1  # F' = F + (F - 1)(d - 1)
        length = (length + 2 * pad - window) // stride + 1
        if length < 1:
            break
        extent = _sliding.window(extent, 2, length, kernel, stride, pad, dilation)
        size, padding, jump = size + (window - 1) * jump, padding + pad * jump, jump * stride
    found = ends(extent)
    assert {high - low + 1 for low, high in found} == {size}
    assert found[0] == (-padding, size - 1 - padding)
    assert {after[0] - before[0] for before, after in pairwise(found)} <= {jump}
    assert extent.steps[2] == (1, jump)
    assert ends(extent, SMALLEST) == ends(extent, LARGEST) == ends(extent, LOCAL) == found


def test_layers_of_stride_one_see_one_and_l_times_k_less_one():
    for kernel in (1, 2, 3, 5, 7):
        extent = row_of(100)
        for layers in range(1, 6):
            length = 100 - layers * (kernel - 1)
            extent = _sliding.window(extent, 2, length, kernel)
            low, high = ends(extent)[length // 2]
            assert high - low + 1 == 1 + layers * (kernel - 1)


@pytest.mark.parametrize("seed", range(80))
def test_any_chain_of_windows_sees_the_hull_of_its_set_of_pixels(seed):
    """Convolutions, transposed ones and padding in any order: as if the image went on, and as it really is."""
    draw = random.Random(seed)
    extent, length = row_of(11), 11

    def on(at: int) -> set[int]:
        return {at}

    def real(at: int) -> set[int]:
        return {at} if 0 <= at < 11 else set()

    for _ in range(draw.randint(1, 4)):
        kernel, stride, dilation = draw.randint(1, 4), draw.randint(1, 3), draw.randint(1, 2)
        pad = draw.randint(0, kernel - 1)
        window = (kernel - 1) * dilation + 1
        kind = draw.choice(["window", "transposed", "constant", "replication"])
        if kind == "window":
            length = (length + 2 * pad - window) // stride + 1
            if length < 1:
                return
            extent = _sliding.window(extent, 2, length, kernel, stride, pad, dilation)
            on, real = (_window(reach, kernel, stride, pad, dilation) for reach in (on, real))
        elif kind == "transposed":
            length = (length - 1) * stride - 2 * pad + window
            if length < 1:
                return
            extent = _sliding.transposed_window(extent, 2, length, kernel, stride, pad, dilation)
            on, real = (_transposed(reach, kernel, stride, pad, dilation) for reach in (on, real))
        else:
            before, after = draw.randint(-1, 3), draw.randint(-1, 3)
            extent = _sliding.padded(extent, 2, before, after, kind)
            real = _shifted(_clamped(real, length) if kind == "replication" else real, before)
            on = _shifted(on, before)
            length += before + after
        real = _ended(real, length)
    if length < max(2, extent.steps[2][0]):
        return  # fewer positions than it takes to tell how they repeat
    for row, reach in ((UNION, on), (SEEN, real)):
        for position, found in enumerate(ends(extent, row)):
            pixels = reach(position)
            assert found == ((min(pixels), max(pixels)) if pixels else (np.inf, -np.inf)), (row, position, length)


def _window(reach: Reach, kernel: int, stride: int, pad: int, dilation: int) -> Reach:
    return lambda at: set().union(*(reach(at * stride - pad + tap * dilation) for tap in range(kernel)))


def _transposed(reach: Reach, kernel: int, stride: int, pad: int, dilation: int) -> Reach:
    def reached(at: int) -> set[int]:
        sources = [at + pad - tap * dilation for tap in range(kernel)]
        return set().union(*(reach(source // stride) for source in sources if source % stride == 0))

    return reached


def _shifted(reach: Reach, before: int) -> Reach:
    return lambda at: reach(at - before)


def _clamped(reach: Reach, length: int) -> Reach:
    return lambda at: reach(min(max(at, 0), length - 1))


def _ended(reach: Reach, length: int) -> Reach:
    return lambda at: reach(at) if 0 <= at < length else set()


# Joins


def random_extent(seed: int) -> Extent:
    """A map's rows, (1, 1, 6, 1), some of which see nothing and some the whole axis, each path on its own."""
    generator = np.random.default_rng(seed)
    low = generator.integers(-5, 20, (ROWS, 6)).astype(np.float32)
    high = low + generator.integers(0, 9, (ROWS, 6)).astype(np.float32)
    whole, nothing = generator.random((ROWS, 6)) < 0.2, generator.random(6) < 0.2
    low[whole], high[whole] = -np.inf, np.inf
    low[:, nothing], high[:, nothing] = np.inf, -np.inf
    return Extent(np.stack([low, high], 1).reshape(ROWS, 2, 1, 1, 6, 1), (None, None, (1, 1), None))


@pytest.mark.parametrize("seed", range(20))
def test_joins_do_not_depend_on_order_and_change_nothing_when_repeated(seed):
    one, two, three = (random_extent(3 * seed + at) for at in range(3))
    there, back = ex.join([one, two, three]).ends, ex.join([three, two, one]).ends
    for row in (UNION, LOCAL, SEEN):
        assert np.array_equal(there[row], back[row])
    with np.errstate(invalid="ignore"):
        for row in (SMALLEST, LARGEST):  # of equally wide paths either may be taken
            assert np.array_equal(there[row, 1] - there[row, 0], back[row, 1] - back[row, 0])
    assert np.array_equal(ex.join([one, one, two, one]).ends, ex.join([one, two]).ends)


def test_paths_of_a_sum():
    narrow, wide = row_of(50), _sliding.window(row_of(50), 2, 50, 9, 1, 4)
    everything = ex.reduce(row_of(50), [2])
    found = ex.join([narrow, wide, everything]).ends[:, :, 0, 0, 20].tolist()
    assert found == [[-np.inf, np.inf], [20, 20], [-np.inf, np.inf], [16, 24], [0, 49]]


def test_a_sum_left_open_is_the_same_when_it_is_worked_out(monkeypatch):
    """Rows of queries beside columns of keys, as in a matrix of logits."""
    queries = ex.image_extent((1, 200, 1), 1)
    keys = _moves.permute(_sliding.window(queries, 1, 200, 5, 1, 2), (0, 2, 1))
    open_sum = ex.join([queries, keys])
    assert isinstance(open_sum, ex.Sum)
    monkeypatch.setattr(ex, "LARGE", 10**9)
    worked_out = ex.join([queries, keys])
    assert not isinstance(worked_out, ex.Sum)
    assert np.array_equal(open_sum.ends, worked_out.ends)
    assert open_sum.steps == worked_out.steps


def test_reducing_all_that_moves_is_global_and_reducing_a_window_is_not():
    tokens = _moves.view(row_of(12), (1, 1, 12), (1, 4, 3))
    window = ex.reduce(tokens, [2])
    assert ends(window) == [(0, 2), (3, 5), (6, 8), (9, 11)]
    assert ends(ex.reduce(window, [1])) == [(-np.inf, np.inf)]
    assert ends(ex.reduce(window, [1]), SEEN) == [(0, 11)]
    assert ends(ex.reduce(window, [1], whole=False)) == [(0, 11)]


def test_a_position_local_in_one_branch_stays_local_beside_a_global_one():
    """Atrous pyramids put the whole image's mean beside convolutions."""
    both = ex.beside([row_of(30), ex.reduce(row_of(30), [2])], [1, 1], 1)
    assert both.steps == (None, BRANCHES, (1, 1))
    mixed = ex.reduce(both, [1], whole=False)
    assert mixed.ends[UNION, :, 0, 0, 7].tolist() == [-np.inf, np.inf]
    assert mixed.ends[LOCAL, :, 0, 0, 7].tolist() == [7, 7]
    assert mixed.ends[SMALLEST, :, 0, 0, 7].tolist() == [7, 7]


# Moves


SHAPES = [(2, 6, 4, 9), (2, 24, 9), (12, 36), (2, 3, 2, 4, 3, 3), (432,), (2, 1, 6, 4, 1, 9), (8, 6, 9), (2, 3, 8, 9)]


@pytest.mark.parametrize("seed", range(30))
def test_views_move_intervals_as_they_move_numbers(seed):
    draw = random.Random(seed)
    dim = draw.choice([1, 2, 3])
    extent, shape = ex.image_extent(SHAPES[0], dim), SHAPES[0]
    numbers = np.broadcast_to(np.arange(shape[dim]).reshape([-1 if at == dim else 1 for at in range(4)]), shape)
    for _ in range(4):
        new = draw.choice(SHAPES)
        extent, numbers = _moves.view(extent, numbers.shape, new), numbers.reshape(new)
        order = draw.sample(range(len(new)), len(new))
        extent, numbers = _moves.permute(extent, order), numbers.transpose(order)
        assert all(step or size == 1 for step, size in zip(extent.steps, extent.ends.shape[2:], strict=True))
        for row in range(ROWS):
            for end in range(2):
                assert np.array_equal(np.broadcast_to(extent.ends[row, end], numbers.shape), numbers)


def test_padding_goes_on_as_a_map_does_after_tokens_and_blocks():
    """What lies beyond the border is told from the positions, when their order was lost on the way."""
    rows = ex.image_extent((1, 1, 8, 6), 2)
    tokens = _moves.view(rows, (1, 1, 8, 6), (1, 1, 48))
    back = _moves.view(tokens, (1, 1, 48), (1, 1, 8, 6))
    assert ends(_sliding.padded(back, 2, 2, 1, "constant"))[:3] == [(-2, -2), (-1, -1), (0, 0)]
    assert _sliding.padded(back, 3, 2, 2, "constant").ends.shape == back.ends.shape  # rows are the same in all columns
    blocks = _moves.view(rows, (1, 1, 8, 6), (1, 1, 4, 2, 6))
    assert blocks.steps[2] == (1, 2)
    assert ends(_sliding.padded(_moves.pick(blocks, 3, 0), 2, 1, 1, "constant"))[0] == (-2, -2)


@pytest.mark.parametrize("shift", [-3, 2, 7])
def test_a_roll_moves_the_whole_image_and_back(shift):
    there = _moves.roll(row_of(10), 2, shift)
    assert ends(there) == [(at - shift, at - shift) for at in range(10)]
    assert ends(_moves.roll(there, 2, -shift)) == ends(row_of(10))


def test_a_part_that_is_overwritten_sees_what_was_written():
    wide = _sliding.window(row_of(10), 2, 10, 5, 1, 2)
    written = _moves.written(row_of(10), _moves.cut(wide, 2, slice(0, 10, 4)), 2, 10, slice(0, 10, 4))
    assert [high - low + 1 for low, high in ends(written)] == [5, 1, 1, 1, 5, 1, 1, 1, 5, 1]
