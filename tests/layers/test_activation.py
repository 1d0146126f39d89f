"""The activations compute what they should, and keep no more than they need."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neocog.layers.activation import relu6, scaled_tanh


def test_scaled_tanh_maps_one_to_one() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0, 100.0], dtype=torch.float64)
    torch.testing.assert_close(
        scaled_tanh(x), torch.tensor([-1.0, 0.0, 1.0, 1.7159], dtype=torch.float64), rtol=1e-4, atol=0
    )


def test_scaled_tanh_bends_most_at_one() -> None:
    x = torch.linspace(0.5, 1.5, 101, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(scaled_tanh(x).sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    assert x[bend.argmin()].item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_relu6_and_its_gradient_are_torchs(dtype: torch.dtype) -> None:
    values = torch.tensor([-2.0, 0.0, 0.5, 5.9, 6.0, 7.0], dtype=dtype)
    results = []
    for function in (relu6, F.relu6):
        x = values.clone().requires_grad_()
        y = function(x)
        (gradient,) = torch.autograd.grad(y.sum() * 3, x)
        results.append((y.detach(), gradient))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_relu6_has_second_derivatives() -> None:
    x = torch.tensor([-1.0, 1.0, 3.0, 8.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(relu6, x)
    assert torch.autograd.gradgradcheck(relu6, x)


def test_relu6_keeps_its_result_and_not_its_argument() -> None:
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    x = torch.rand(8, requires_grad=True) * 7
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = relu6(x)
    assert kept == [y.data_ptr()]


def test_relu6_can_be_compiled_exported_and_vectorised() -> None:
    x = torch.linspace(-1, 8, 10, requires_grad=True)
    compiled = torch.compile(relu6, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), F.relu6(x))
    gradients = torch.func.vmap(torch.func.grad(lambda value: relu6(value) * 2))(x.detach())
    assert torch.equal(gradients, 2.0 * ((x > 0) & (x < 6)))


def test_relu6_leaves_its_argument_alone() -> None:
    x = torch.tensor([-1.0, 7.0])
    relu6(x)
    assert x.tolist() == [-1.0, 7.0]
