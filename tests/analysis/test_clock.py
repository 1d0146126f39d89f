"""Times and memory of a piece of work."""

from __future__ import annotations

import sys
from math import comb
from random import Random
from statistics import median

import pytest
import torch

from neocog.analysis._clock import median_interval, peak_growth

CPU = torch.device("cpu")


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (20, 6), (30, 10), (100, 40)])
def test_the_ranks_of_the_interval_are_those_of_the_sign_test(count, rank):
    # Conover 1999, "Practical nonparametric statistics", table A3: the p = 1/2 binomial's two-sided 5 % points.
    assert median_interval([float(n) for n in range(1, count + 1)]) == (rank, count + 1 - rank)


def test_the_interval_covers_the_median_as_often_as_it_says():
    draw = Random(0)
    hits = 0
    for _ in range(2000):
        low, high = median_interval([draw.expovariate(1) for _ in range(21)])
        hits += low <= 0.6931 <= high
    exact = 1 - 2 * sum(comb(21, k) for k in range(6)) / 2**21
    assert exact >= 0.95
    assert hits / 2000 == pytest.approx(exact, abs=0.02)


def test_too_few_runs_give_their_whole_range():
    assert median_interval([3.0]) == (3.0, 3.0)
    assert median_interval([5.0, 1.0, 2.0]) == (1.0, 5.0)


def test_the_interval_does_not_depend_on_order():
    times = [Random(1).random() for _ in range(12)]
    low, high = median_interval(times)
    assert (low, high) == median_interval(sorted(times))
    assert low <= median(times) <= high


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own account of memory is Linux's")
@pytest.mark.parametrize("mebibytes", [64, 192])
def test_memory_that_was_held_for_a_moment_is_seen(mebibytes):
    def work() -> None:
        torch.ones(mebibytes, 2**18).sum()

    for _ in range(2):  # the second time too, when the heap has such memory in reserve
        assert 0.98 * mebibytes * 2**20 <= peak_growth(work, CPU) <= (mebibytes + 16) * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own account of memory is Linux's")
def test_work_that_needs_no_memory_grows_none():
    assert peak_growth(lambda: None, CPU) < 2**20
