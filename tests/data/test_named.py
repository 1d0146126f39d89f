"""Data sets known by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neocog.data import DATASETS
from neocog.data.named import read_named


def test_the_digits_are_scikit_learns_in_two_fixed_splits():
    from sklearn.datasets import load_digits

    splits = read_named("digits").splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 1438, "test": 359}
    again = read_named("digits").splits
    assert torch.equal(splits["test"].targets(), again["test"].targets())

    def images(split):
        return [np.asarray(split.image(index, channels=1)) for index in range(len(split))]

    ours = np.stack(images(splits["train"]) + images(splits["test"])).astype(float)
    theirs = np.rint(load_digits().images * 255 / 16)
    order = [np.lexsort(each.reshape(1797, 64).T) for each in (ours, theirs)]
    assert np.array_equal(ours[order[0]], theirs[order[1]])


def test_the_digits_are_stratified_small_and_grey():
    splits = read_named("digits").splits
    train, test = (torch.tensor(splits[name].class_counts) for name in ("train", "test"))
    assert ((test / (train + test) - 0.2).abs() < 0.004).all()
    assert splits["train"].classes == tuple("0123456789")
    assert (splits["train"].small, splits["train"].channels, splits["train"].image_size) == (True, 1, (8, 8))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet"])
def test_every_other_set_says_what_it_is_and_where(name):
    assert DATASETS[name].name == name
    assert DATASETS[name].hub.count("/") == 1
    assert len(DATASETS[name].description) > 20
