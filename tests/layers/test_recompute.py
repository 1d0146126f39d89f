"""What is computed again gives the gradients of what is kept, and leaves no trace."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.layers.recompute import norm_relu_conv


def kept(maps: list[Tensor], norm: nn.Module, conv: nn.Conv2d) -> Tensor:
    result: Tensor = conv(F.relu(norm(torch.cat(maps, 1))))
    return result


def parts(filters: int = 5, side: int = 4, **options: int) -> tuple[list[Tensor], nn.BatchNorm2d, nn.Conv2d]:
    torch.manual_seed(0)
    maps = [torch.randn(3, channels, side, side, dtype=torch.float64, requires_grad=True) for channels in (2, 1, 4)]
    return maps, nn.BatchNorm2d(7).double(), nn.Conv2d(7, filters, **{"kernel_size": 1, **options}).double()


@pytest.mark.parametrize(
    ("shape", "training"),
    [({}, True), ({}, False), ({"kernel_size": 3, "padding": 1}, True), ({"filters": 3, "side": 1}, True)],
    ids=["training", "evaluation", "3x3", "weights of the shape of the maps"],
)
def test_gradients_and_statistics_are_those_without_it(shape, training):
    maps, norm, conv = parts(**shape)
    norm.train(training)
    found = []
    for function in (kept, norm_relu_conv):
        own_norm, own_conv = copy.deepcopy((norm, conv))
        wanted = [*maps, *own_norm.parameters(), *own_conv.parameters()]
        result = function(maps, own_norm, own_conv)
        gradients = torch.autograd.grad(result.square().sum(), wanted)
        found.append([result, *gradients, *own_norm.buffers()])
    for expected, tensor in zip(*found, strict=True):
        torch.testing.assert_close(tensor, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a compiler")
def test_compiled_it_has_the_same_gradients() -> None:
    maps, norm, conv = parts()
    found = []
    for function in (norm_relu_conv, torch.compile(norm_relu_conv, backend="aot_eager")):
        result = function(maps, norm, conv)
        found.append([result, *torch.autograd.grad(result.square().sum(), [*maps, *norm.parameters(), conv.weight])])
    for expected, tensor in zip(*found, strict=True):
        torch.testing.assert_close(tensor, expected, rtol=1e-9, atol=1e-12)


def test_autograd_agrees_with_differences_twice_over():
    maps, norm, conv = parts(filters=2, side=2)

    def function(*maps: Tensor) -> Tensor:
        return norm_relu_conv(maps, norm, conv)

    assert torch.autograd.gradcheck(function, maps)
    assert torch.autograd.gradgradcheck(function, maps)


def test_a_graph_that_is_retained_can_be_gone_through_twice():
    maps, norm, conv = parts()
    loss = norm_relu_conv(maps, norm, conv).square().sum()
    first, again = (torch.autograd.grad(loss, maps, retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert norm.num_batches_tracked == 1


def test_modules_are_called_so_that_hooks_see_them():
    maps, norm, conv = parts()
    seen = []
    for module in (norm, conv):
        module.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    norm_relu_conv(maps, norm, conv)
    assert seen == [(3, 7, 4, 4), (3, 5, 4, 4)]
