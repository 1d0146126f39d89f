"""The activations compute what they should, and keep no more than they need."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neocog.analysis.cost import count_cost
from neocog.analysis.receptive_field import receptive_fields
from neocog.analysis.trace import trace_forward
from neocog.errors import UsageError
from neocog.layers.activation import gelu, gelu_tanh, hard_swish, maxout, relu6, scaled_tanh, silu, squash


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


@pytest.mark.parametrize(
    ("formula", "torchs"),
    [
        (silu, F.silu),
        (hard_swish, F.hardswish),
        (gelu, F.gelu),
        (gelu_tanh, lambda x: F.gelu(x, approximate="tanh")),
    ],
)
def test_formulas_and_their_gradients_are_torchs(formula, torchs) -> None:
    x = torch.linspace(-8, 8, 400, dtype=torch.float64, requires_grad=True)  # without the corners at -3 and 3
    results = [(y, *torch.autograd.grad(y.sum(), x)) for y in (formula(x), torchs(x))]
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(4, 30), (2, 30, 3, 4), (2, 30, 2, 2, 2)])
def test_maxout_takes_the_largest_of_neighbouring_channels(pieces: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.equal(maxout(x.detach(), pieces), maxout(x, pieces))
    y, expected = maxout(x, pieces), x.unflatten(1, (-1, pieces)).amax(2)
    assert torch.equal(y, expected)
    weight = torch.randn_like(y)
    gradients = [torch.autograd.grad((value * weight).sum(), x)[0] for value in (y, expected)]
    assert torch.equal(*gradients)


def test_maxout_of_a_linear_layer_is_any_convex_function() -> None:
    # |x| = max(x, -x); and ReLU is the larger of x and 0.
    layer = torch.nn.Linear(1, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [-1.0], [1.0], [0.0]]))
    x = torch.linspace(-2, 2, 9)[:, None]
    assert torch.equal(maxout(layer(x)), torch.cat([x.abs(), x.relu()], 1))


def test_maxout_keeps_the_layout_of_images() -> None:
    x = torch.randn(2, 8, 5, 5)
    for layout in (torch.contiguous_format, torch.channels_last):
        for gradient in (False, True):
            laid = x.clone(memory_format=layout).requires_grad_(gradient)
            assert maxout(laid).is_contiguous(memory_format=layout)
            assert torch.equal(maxout(laid), x.unflatten(1, (4, 2)).amax(2))


def test_maxout_is_described_and_sees_what_its_input_sees() -> None:
    class Network(torch.nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](maxout(self[0](x)))  # type: ignore[no-any-return]

    trace = trace_forward(Network(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(4, 2, 3)), (3, 9, 9))
    assert not count_cost(trace).uncounted
    fields = receptive_fields(trace)
    assert not fields.unknown
    assert fields.of("1").size == (5, 5)


@pytest.mark.parametrize("pieces", [0, 4])
def test_maxout_of_channels_that_do_not_divide_is_refused(pieces: int) -> None:
    with pytest.raises(UsageError, match=f"every {pieces} channels, which does not divide 6"):
        maxout(torch.rand(2, 6), pieces)


def test_squash_keeps_the_direction_and_makes_a_probability_of_the_length() -> None:
    x = torch.randn(3, 7, 8, dtype=torch.float64) * 4
    y, length = squash(x), x.norm(dim=-1)
    torch.testing.assert_close(y.norm(dim=-1), length**2 / (1 + length**2))
    torch.testing.assert_close(F.cosine_similarity(x, y, dim=-1), torch.ones(3, 7, dtype=torch.float64))
    torch.testing.assert_close(squash(x.movedim(-1, 1), dim=1).movedim(1, -1), y)
    assert torch.autograd.gradcheck(squash, x[0].clone().requires_grad_())


def test_squash_of_nothing_is_nothing_with_a_gradient() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    y = squash(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert not y.any()
    assert torch.equal(gradient, torch.zeros(2, 8))
