"""Numbers drawn from keys: the same everywhere, uniform, and independent of their neighbours'."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import get_overloads

import pytest
import torch
from scipy import stats

from neocog.data.keys import Stream, epoch_order, hash_key, normal, uniform

_SEEDS = [0, 1, 7, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -1]


def splitmix64(state: int, count: int) -> list[int]:
    """The published generator (Steele, Lea and Flood 2014), written with Python's unbounded integers."""
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        numbers.append(z ^ (z >> 31))
    return numbers


def test_splitmix64_of_the_tests_is_the_published_one() -> None:
    # The first outputs for seed 1234567, as the algorithm's reference implementations print them.
    assert splitmix64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("key", [0, 1, -1, 1234567, -(2**63), 2**63 - 1])
def test_uniform_is_splitmix64_started_at_the_key(key: int) -> None:
    expected = [number / 2**64 for number in splitmix64(key % 2**64, 20)]
    assert uniform(key, 20) == pytest.approx(expected, abs=2**-53, rel=0)


@pytest.mark.parametrize("seed", _SEEDS)
def test_integers_and_tensors_give_the_same_keys_and_numbers(seed: int) -> None:
    indices = torch.tensor([0, 1, 2, 1000, 2**40, 2**63 - 1])
    copies = torch.tensor([0, 1, 2, 3, 4, 5])
    keys = hash_key(seed, 11, indices, copies, Stream.ORDER)
    one_by_one = [
        hash_key(seed, 11, index, copy, Stream.ORDER)
        for index, copy in zip(indices.tolist(), copies.tolist(), strict=True)
    ]
    assert keys.dtype == torch.int64
    assert keys.tolist() == one_by_one
    assert uniform(keys, 7).tolist() == [uniform(key, 7) for key in one_by_one]


def test_keys_keep_the_shape_of_the_indices() -> None:
    indices = torch.arange(6).view(2, 3)
    assert torch.equal(hash_key(0, 0, indices).view(-1), hash_key(0, 0, indices.view(-1)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_numbers() -> None:
    indices = torch.arange(1000)
    there = uniform(hash_key(3, 4, indices.cuda()), 9)
    assert torch.equal(there.cpu(), uniform(hash_key(3, 4, indices), 9))


def test_every_part_of_the_key_counts() -> None:
    parts = [(s, e, i, c, t) for s in range(3) for e in range(3) for i in range(3) for c in range(3) for t in (0, 1)]
    assert len({hash_key(*part) for part in parts}) == len(parts)


def test_a_million_samples_have_a_million_keys() -> None:
    keys = torch.cat([hash_key(0, epoch, torch.arange(100_000)) for epoch in range(10)])
    assert len(keys.unique()) == 1_000_000


def test_numbers_are_uniform_and_lie_in_the_unit_interval() -> None:
    numbers = uniform(hash_key(5, 0, torch.arange(20_000)), 10)
    assert numbers.dtype == torch.float64
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        counts = torch.histc(column.float(), bins=100, min=0, max=1)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > 1e-4


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("next index", lambda i: hash_key(0, 0, i + 1)),
        ("next epoch", lambda i: hash_key(0, 1, i)),
        ("next seed", lambda i: hash_key(1, 0, i)),
        ("next copy", lambda i: hash_key(0, 0, i, 1)),
        ("other stream", lambda i: hash_key(0, 0, i, 0, Stream.ORDER)),
    ],
)
def test_neighbouring_keys_draw_independently(name: str, other) -> None:
    indices = torch.arange(40_000)
    here, there = uniform(hash_key(0, 0, indices), 4), uniform(other(indices), 4)
    correlation = torch.corrcoef(torch.cat([here, there], dim=1).T) - torch.eye(8)
    # The standard error of a correlation of independent numbers is 1 / sqrt(N) = 0.005.
    assert correlation.abs().max() < 0.025, name


def test_more_draws_leave_the_first_ones_as_they_are() -> None:
    keys = hash_key(0, 0, torch.arange(10))
    assert torch.equal(uniform(keys, 26)[:, :6], uniform(keys, 6))
    assert torch.equal(uniform(keys, 26)[:, 20:], uniform(keys, 6, 20))
    assert uniform(7, 26)[20:] == uniform(7, 6, 20)


def test_normal_numbers_are_normal_and_independent() -> None:
    numbers = normal(hash_key(5, 0, torch.arange(20_000)).view(-1, 1), torch.arange(3))
    assert numbers.shape == (20_000, 3, 2)
    assert numbers.dtype == torch.float32
    columns = numbers.flatten(1)
    for column in columns.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-4
    assert (torch.corrcoef(columns.T) - torch.eye(6)).abs().max() < 0.035
    assert torch.equal(normal(hash_key(5, 0, torch.arange(9)), torch.tensor(2)), numbers[:9, 2])


def test_an_epochs_order_is_a_permutation_that_differs_by_epoch_and_seed() -> None:
    orders = [epoch_order(seed, epoch, 1000) for seed in range(2) for epoch in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    for first in range(len(orders)):
        for second in range(first):
            # Two random permutations agree in one place on average.
            assert (orders[first] == orders[second]).sum() < 10


def test_every_image_comes_at_every_place_equally_often() -> None:
    counts = torch.zeros(10, 10)
    for epoch in range(3000):
        counts[torch.arange(10), epoch_order(0, epoch, 10)] += 1
    assert stats.chisquare(counts.flatten().numpy()).pvalue > 1e-4


def test_the_order_stays_what_it_was() -> None:
    # Runs are resumed with later versions: these numbers may never change.
    assert epoch_order(0, 0, 8).tolist() == [4, 7, 3, 1, 2, 0, 6, 5]
    assert hash_key(1, 2, 3, 4, 1) == 7598290903421081044


@pytest.mark.parametrize("length", [0, 1])
def test_the_order_of_nothing_and_of_one(length: int) -> None:
    assert epoch_order(0, 0, length).tolist() == list(range(length))


def test_the_order_does_not_depend_on_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = epoch_order(3, 1, 100_000)
        torch.set_num_threads(4)
        assert torch.equal(epoch_order(3, 1, 100_000), one)
    finally:
        torch.set_num_threads(threads)


def test_keys_and_augmentation_import_neither_torchvision_nor_datasets() -> None:
    code = (
        "import sys, neocog.data.keys, neocog.data.augment, neocog.data.loading\n"
        "print([name for name in ('torchvision', 'datasets', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("function", [hash_key, uniform])
def test_each_way_to_call_says_what_it_gives(function: Callable[..., object]) -> None:
    ways = get_overloads(function)
    assert len(ways) == 2
    assert all(way.__doc__ for way in ways)
