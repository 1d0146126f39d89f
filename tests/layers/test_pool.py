"""Pools are torch's, or an identity; fractional pooling has the sizes and regions of its paper."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neocog.errors import UsageError
from neocog.layers.pool import (
    FractionalMaxPool2d,
    SumPool2d,
    adaptive_regions,
    average_as_convolution,
    pool_output_size,
)

WINDOWS = [(2, None, 0), (3, 2, 1), (3, 1, 0), (5, 3, 2)]


def test_an_average_pool_is_a_fixed_convolution() -> None:
    x = torch.randn(2, 4, 11, 10, dtype=torch.float64)
    for kernel, stride, padding in WINDOWS:
        layer = average_as_convolution(4, kernel, stride, padding).double()
        # Its weights were rounded to single precision.
        torch.testing.assert_close(layer(x), F.avg_pool2d(x, kernel, stride, padding), rtol=1e-6, atol=1e-7)
        assert not any(parameter.requires_grad for parameter in layer.parameters())


def test_a_sum_pool_is_the_windows_sum() -> None:
    x = torch.randn(2, 4, 11, 10, dtype=torch.float64)
    for kernel, stride, padding in WINDOWS:
        ours = SumPool2d(kernel, stride, padding)(x)
        ones = x.new_ones(4, 1, kernel, kernel)
        torch.testing.assert_close(ours, F.conv2d(x, ones, None, stride or kernel, padding, groups=4))
    with pytest.raises(UsageError, match="padding 2 is more than half of the kernel 3"):
        SumPool2d(3, padding=2)
    with pytest.raises(UsageError, match="padding is -1"):
        SumPool2d(3, padding=-1)


def test_alexnets_overlapping_pools_have_the_lectures_sizes() -> None:
    assert [pool_output_size(size, 3, 2) for size in (55, 27, 13)] == [27, 13, 6]


@pytest.mark.parametrize("size", range(1, 15))
@pytest.mark.parametrize("ceil", [False, True])
def test_sizes_are_torchs(size: int, ceil: bool) -> None:
    for kernel, stride, padding in [*WINDOWS, (2, 3, 1), (3, 2, 0)]:
        if kernel > size + 2 * padding:
            with pytest.raises(UsageError, match="does not fit"):
                pool_output_size(size, kernel, stride, padding, ceil=ceil)
            continue
        made = F.max_pool2d(torch.zeros(1, 1, size, size), kernel, stride, padding, ceil_mode=ceil).shape[2]
        assert pool_output_size(size, kernel, stride, padding, ceil=ceil) == made


@pytest.mark.parametrize(("size", "count"), [(7, 3), (10, 4), (6, 6), (5, 1), (3, 5)])
def test_adaptive_regions_are_torchs(size: int, count: int) -> None:
    x = torch.rand(1, 1, size, 1)
    regions = adaptive_regions(size, count)
    maxima = torch.stack([x[0, 0, start:end, 0].max() for start, end in regions])
    means = torch.stack([x[0, 0, start:end, 0].mean() for start, end in regions])
    assert torch.equal(maxima, F.adaptive_max_pool2d(x, (count, 1)).flatten())
    torch.testing.assert_close(means, F.adaptive_avg_pool2d(x, (count, 1)).flatten())


def test_global_average_pooling_is_every_kind_of_average_of_all() -> None:
    x = torch.rand(2, 3, 6, 5)
    for same in (F.adaptive_avg_pool2d(x, 1), F.avg_pool2d(x, (6, 5))):
        torch.testing.assert_close(same[:, :, 0, 0], x.mean((2, 3)))


# Fractional max pooling


def regions_of(layer: FractionalMaxPool2d, size: int) -> list[list[int]]:
    return [sorted(set(region)) for region in layer.regions(size).tolist()]


SORTS = [(overlapping, pseudorandom) for overlapping in (True, False) for pseudorandom in (True, False)]


@pytest.mark.parametrize(("overlapping", "pseudorandom"), SORTS)
@pytest.mark.parametrize("ratio", [2**0.5, 2 ** (1 / 3), 1.5, 1.9, 2.7])
def test_regions_are_the_papers(ratio: float, overlapping: bool, pseudorandom: bool) -> None:
    torch.manual_seed(0)
    layer = FractionalMaxPool2d(ratio, overlapping=overlapping, pseudorandom=pseudorandom)
    for size in (9, 25, 36, 94):
        for _ in range(5):
            regions = regions_of(layer, size)
            assert len(regions) == round(size / ratio)
            assert regions[0][0] == 0
            assert regions[-1][-1] == size - 1
            for region in regions:
                assert region == list(range(region[0], region[-1] + 1))
            for before, after in pairwise(regions):
                assert after[0] == before[-1] + (not overlapping)
            lengths = {len(region) for region in regions}
            if ratio < 2:
                assert lengths <= ({2, 3} if overlapping else {1, 2})
            assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("overlapping", "pseudorandom"), SORTS)
def test_it_takes_the_maximum_of_each_region(overlapping: bool, pseudorandom: bool) -> None:
    torch.manual_seed(1)
    layer = FractionalMaxPool2d(1.6, overlapping=overlapping, pseudorandom=pseudorandom)
    x = torch.randn(2, 3, 13, 11)
    torch.manual_seed(2)
    result = layer(x)
    torch.manual_seed(2)
    rows, columns = regions_of(layer, 13), regions_of(layer, 11)
    expected = torch.stack([torch.stack([x[:, :, r][..., c].amax((2, 3)) for c in columns], -1) for r in rows], -2)
    assert torch.equal(result, expected)


def test_pseudorandom_steps_are_spread_evenly_and_random_ones_are_not() -> None:
    torch.manual_seed(0)
    for pseudorandom in (True, False):
        layer = FractionalMaxPool2d(1.5, overlapping=False, pseudorandom=pseudorandom)
        lengths = [[len(region) for region in regions_of(layer, 60)] for _ in range(20)]
        # With ⌈1.5 (i + u)⌉ the steps are 1 and 2 in turn.
        alternate = [all(one != other for one, other in pairwise(each)) for each in lengths]
        assert all(alternate) if pseudorandom else not any(alternate)
        assert all(each.count(2) == 20 for each in lengths)
        assert len({tuple(each) for each in lengths}) > 1


@pytest.mark.parametrize("overlapping", [True, False])
def test_pseudorandom_bounds_are_the_formula(overlapping: bool) -> None:
    from fractions import Fraction
    from math import ceil

    layer = FractionalMaxPool2d(2**0.5, overlapping=overlapping).eval()
    count, total = layer.output_size(25), 25 - overlapping
    assert count == 18
    bounds = [ceil(Fraction(total, count) * (i + Fraction(1, 2))) for i in range(count + 1)]
    expected = [list(range(a - bounds[0], b - bounds[0] + overlapping)) for a, b in pairwise(bounds)]
    assert regions_of(layer, 25) == expected


def test_the_papers_networks_have_the_papers_sizes() -> None:
    # Section 3: (C2 - FMP √2) six times, C2 and C1 take 36 pixels to one; with ∛2, twelve times, 94 pixels.
    for ratio, times, start in ((2**0.5, 6, 36), (2 ** (1 / 3), 12, 94)):
        pool, size = FractionalMaxPool2d(ratio), start
        for _ in range(times):
            size = pool.output_size(size - 1)
        assert size == 2


def test_evaluation_gives_one_answer_and_training_many() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 20, 20)
    layer = FractionalMaxPool2d(1.4)
    assert len({layer(x).sum().item() for _ in range(10)}) > 1
    assert len({layer.eval()(x).sum().item() for _ in range(10)}) == 1
    always = FractionalMaxPool2d(1.4, pseudorandom=False, draw_in_evaluation=True).eval()
    assert len({always(x).sum().item() for _ in range(10)}) > 1


def test_the_seed_decides_the_regions() -> None:
    x = torch.randn(1, 2, 20, 20)
    for pseudorandom in (True, False):
        layer = FractionalMaxPool2d(1.4, pseudorandom=pseudorandom)
        results: list[Tensor] = []
        for _ in range(2):
            torch.manual_seed(5)
            results.append(layer(x))
        assert torch.equal(*results)


def test_gradients_go_to_the_maxima() -> None:
    layer = FractionalMaxPool2d(1.5, overlapping=False).eval()
    x = torch.randperm(81).double().view(1, 1, 9, 9).requires_grad_()
    y = layer(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.sum() == y.numel()
    assert torch.equal(x[gradient > 0].sort().values, y.flatten().sort().values)


def test_ratios_and_maps_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="ratio is 1, must be above 1"):
        FractionalMaxPool2d(1)
    with pytest.raises(UsageError, match=r"2 pixels cannot be cut into 2 overlapping regions, for ratio 1\.2"):
        FractionalMaxPool2d(1.2)(torch.zeros(1, 1, 2, 2))
    assert FractionalMaxPool2d(1.2, overlapping=False)(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 2, 2)
