"""Holding out a validation split."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neocog.data.splitting import hold_out


def keys(count: int) -> list[str]:
    return [f"{index:05d}.jpg" for index in range(count)]


def test_every_class_gives_its_share():
    targets = torch.repeat_interleave(torch.arange(4), torch.tensor([100, 50, 10, 3]))
    train, held = hold_out(targets, keys(163), 0.1)
    assert np.bincount(targets[held]).tolist() == [10, 5, 1, 1]
    assert sorted([*train, *held]) == list(range(163))


@pytest.mark.parametrize(("size", "held"), [(1, 0), (2, 1), (3, 1), (14, 1), (15, 2), (25, 3)])
def test_shares_are_rounded_but_a_class_gives_one_and_keeps_one(size, held):
    assert len(hold_out(torch.zeros(size, dtype=torch.long), keys(size), 0.1)[1]) == held
    assert len(hold_out(torch.zeros(size, dtype=torch.long), keys(size), 0.99)[1]) <= max(0, size - 1)


def test_it_depends_on_the_seed_and_the_keys_alone():
    targets = torch.arange(200) % 2
    _, held = hold_out(targets, keys(200), 0.2, seed=1)
    chosen = {keys(200)[index] for index in held}
    order = np.random.default_rng(0).permutation(200)
    _, again = hold_out(targets[torch.from_numpy(order)], [keys(200)[index] for index in order], 0.2, seed=1)
    assert {keys(200)[order[index]] for index in again} == chosen
    _, other = hold_out(targets, keys(200), 0.2, seed=2)
    assert {keys(200)[index] for index in other} != chosen


def test_an_image_more_moves_few_of_the_others():
    targets = torch.zeros(1001, dtype=torch.long)
    before = set(hold_out(targets[:1000], keys(1000), 0.1)[1])
    after = set(hold_out(targets, keys(1001), 0.1)[1])
    assert len(before - after) <= 1


def test_nothing_is_held_out_of_a_share_of_zero():
    train, held = hold_out(torch.zeros(10, dtype=torch.long), keys(10), 0.0)
    assert (len(train), len(held)) == (10, 0)


def test_with_several_labels_the_rarest_class_is_in_both_parts():
    targets = torch.zeros(100, 3)
    targets[:, 0] = 1
    targets[:4, 1] = 1
    targets[50:, 2] = 1
    targets[99] = 0
    train, held = hold_out(targets, keys(100), 0.25)
    assert len(held) == pytest.approx(25, abs=2)
    assert targets[held, 1].sum() == 1
    assert targets[train, 1].sum() == 3
