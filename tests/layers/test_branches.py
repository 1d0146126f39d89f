from __future__ import annotations

import pytest
import torch
from torch import nn

from neocog.layers.branches import Concatenate, ConvBnReLU


@pytest.mark.parametrize("kernel", [1, 3, 7, (1, 7), (3, 1)])
def test_same_padding_keeps_the_size_and_is_torchs(kernel):
    images = torch.randn(2, 3, 9, 8)
    torch.manual_seed(0)
    module = ConvBnReLU(3, 4, kernel)
    torch.manual_seed(0)
    by_torch = nn.Sequential(
        nn.Conv2d(3, 4, kernel, padding="same", bias=False), nn.BatchNorm2d(4, eps=1e-3), nn.ReLU()
    )
    assert torch.equal(module(images), by_torch(images))
    assert module(images).shape == (2, 4, 9, 8)


def test_valid_padding_is_none():
    assert ConvBnReLU(3, 4, 3, stride=2, padding="valid")(torch.randn(2, 3, 299, 9)).shape == (2, 4, 149, 4)
    assert ConvBnReLU(3, 4, 3, stride=2)(torch.randn(2, 3, 299, 9)).shape == (2, 4, 150, 5)


def test_branches_lie_on_top_of_each_other_in_the_order_given():
    images = torch.randn(1, 2, 4, 4)
    module = Concatenate(second=nn.Identity(), first=nn.MaxPool2d(3, 1, 1))
    assert torch.equal(module(images)[:, :2], images)
    assert torch.equal(module(images)[:, 2:], nn.MaxPool2d(3, 1, 1)(images))
    assert [name for name, _ in module.named_children()] == ["second", "first"]
