"""Norms of activations and of weights compute what their papers say, and what torch and timm compute."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.analysis.cost import count_cost
from neocog.analysis.receptive_field import receptive_fields
from neocog.analysis.trace import trace_forward
from neocog.errors import UsageError
from neocog.layers.norm import BatchNormReLU6, LocalResponseNorm, ScaledStdConv2d, WSConv2d, normalise

X = torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1


@pytest.mark.parametrize(
    ("norm", "ours"),
    [
        (nn.BatchNorm2d(6, affine=False), lambda x: normalise(x, over=(0, 2, 3))),
        (nn.LayerNorm((6, 5, 4), elementwise_affine=False), lambda x: normalise(x, over=(1, 2, 3))),
        (nn.LayerNorm(4, elementwise_affine=False), lambda x: normalise(x, over=(-1,))),
        (nn.InstanceNorm2d(6), lambda x: normalise(x, over=(2, 3))),
        (
            nn.GroupNorm(2, 6, affine=False),
            lambda x: normalise(x.unflatten(1, (2, -1)), over=(2, 3, 4)).flatten(1, 2),
        ),
        (nn.GroupNorm(1, 6, affine=False), lambda x: normalise(x, over=(1, 2, 3))),
        (nn.GroupNorm(6, 6, affine=False), lambda x: normalise(x, over=(2, 3))),
    ],
    ids=["batch", "layer", "layer of the last axis", "instance", "group", "one group", "a group a channel"],
)
def test_four_norms_are_one_formula_over_different_axes(norm: nn.Module, ours) -> None:
    torch.testing.assert_close(ours(X), norm.double()(X))


def read_literally(x: Tensor, n: int, k: float, alpha: float, beta: float) -> Tensor:
    """Section 3.3's formula, number by number."""
    y = torch.empty_like(x)
    channels = x.shape[1]
    for i in range(channels):
        low, high = max(0, i - n // 2), min(channels - 1, i + n // 2)
        total = sum(x[:, j] ** 2 for j in range(low, high + 1))
        y[:, i] = x[:, i] / (k + alpha * total) ** beta
    return y


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
@pytest.mark.parametrize("constants", [(5, 2.0, 1e-4, 0.75), (3, 1.0, 0.5, 0.75), (1, 0.5, 2.0, 0.3), (9, 1, 1, 1)])
def test_local_response_norm_is_the_papers_formula(channels: int, constants: tuple[int, float, float, float]) -> None:
    n, k, alpha, beta = constants
    x = torch.randn(2, channels, 3, 2, dtype=torch.float64) * 4
    layer = LocalResponseNorm(n, k=k, alpha=alpha, beta=beta)
    torch.testing.assert_close(layer(x), read_literally(x, *constants))
    torch.testing.assert_close(layer(x.clone().requires_grad_()), read_literally(x, *constants))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_local_response_norm_and_its_gradient_are_torchs(memory_format: torch.memory_format, beta: float) -> None:
    ours, theirs = LocalResponseNorm(5, alpha=0.02, beta=beta), nn.LocalResponseNorm(5, 0.1, beta, 2.0)
    values = torch.randn(2, 8, 5, 4, dtype=torch.float64).contiguous(memory_format=memory_format) * 3
    weight = torch.randn_like(values)
    results = []
    for layer in (ours, theirs):
        x = values.clone().requires_grad_()
        y = layer(x)
        (gradient,) = torch.autograd.grad((y * weight).sum(), x)
        results.append((y.detach(), gradient))
    torch.testing.assert_close(results[0], results[1])
    assert ours(values).is_contiguous(memory_format=memory_format)


def test_the_papers_constants_are_the_defaults() -> None:
    x = torch.rand(2, 8, 3, 3) * 50
    torch.testing.assert_close(LocalResponseNorm()(x), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)(x))


def test_local_response_norm_has_second_derivatives() -> None:
    layer = LocalResponseNorm(3, k=1, alpha=0.3)
    x = torch.randn(1, 5, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)


def test_local_response_norm_can_be_compiled_and_vectorised() -> None:
    layer = LocalResponseNorm()
    x = torch.randn(2, 3, 8, 4, 4, requires_grad=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x[0]), layer(x[0]))
    together = torch.func.vmap(torch.func.grad(lambda one: layer(one).square().sum()))(x.detach())
    (each,) = torch.autograd.grad(sum(layer(one).square().sum() for one in x), x)
    torch.testing.assert_close(together, each)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_exact_as_its_numbers(dtype: torch.dtype) -> None:
    x = (torch.randn(2, 16, 5, 5) * 20).to(dtype)
    y = LocalResponseNorm()(x)
    assert y.dtype is dtype
    torch.testing.assert_close(y.double(), LocalResponseNorm()(x.double()), rtol=4 * torch.finfo(dtype).eps, atol=1e-3)


def test_local_response_norm_is_described_in_full_and_sees_one_pixel() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), LocalResponseNorm(), nn.Conv2d(8, 8, 3))
    for training in (False, True):
        trace = trace_forward(network, (3, 12, 12), training=training)
        cost = count_cost(trace)
        assert not cost.uncounted
        assert cost.macs == 8 * 27 * 100 + 8 * 72 * 64
        fields = receptive_fields(trace)
        assert not fields.unknown
        assert fields.of("1").size == (3, 3)
        assert fields.of("2").size == (5, 5)


@pytest.mark.parametrize("options", [{"n": 4}, {"n": 0}, {"n": -1}, {"k": 0.0}])
def test_what_local_response_norm_cannot_be_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"not {next(iter(options.values()))}"):
        LocalResponseNorm(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"k": torch.inf}, {"alpha": torch.nan}, {"beta": -torch.inf}])
def test_constants_of_local_response_norm_are_finite(options: dict[str, float]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UsageError, match=f"{name} is {value}, must be finite"):
        LocalResponseNorm(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("groups", [1, 2])
def test_scaled_standardised_convolutions_are_timms(groups: int) -> None:
    from timm.layers import ScaledStdConv2d as Theirs

    ours = ScaledStdConv2d(4, 6, 3, 2, 1, groups=groups, gamma=1.7, eps=1e-5)
    theirs = Theirs(4, 6, 3, stride=2, padding=1, groups=groups, gamma=1.7, eps=1e-5)
    with torch.no_grad():
        ours.gain.uniform_(0.5, 2)
    theirs.load_state_dict(ours.state_dict())
    x, gradients = torch.randn(2, 4, 9, 9), []
    for layer in (ours, theirs):
        y = layer(x)
        gradients.append([y, *torch.autograd.grad(y.square().sum(), list(layer.parameters()))])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_standardised_filters_are_timms() -> None:
    from timm.layers import StdConv2d as Theirs

    ours, theirs = WSConv2d(4, 6, 3, padding=1, eps=1e-6), Theirs(4, 6, 3, padding=1, bias=True, eps=1e-6)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 7, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_standardised_filters_have_mean_0_and_variance_1() -> None:
    layer = WSConv2d(4, 6, 3).double()
    filters = layer.standardised().flatten(1)
    torch.testing.assert_close(filters.mean(1), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
    variance = layer.weight.flatten(1).var(1, correction=0)
    torch.testing.assert_close(filters.var(1, correction=0), variance / (variance + 1e-5))
    torch.testing.assert_close(filters, normalise(layer.weight.flatten(1), over=(1,)))
    twice = WSConv2d(4, 6, 3, gamma=2.0).double()
    twice.load_state_dict(layer.state_dict())
    torch.testing.assert_close(twice.standardised().flatten(1), 2 * filters)


def test_scaled_filters_keep_the_variance_of_rectified_noise() -> None:
    # Of its input's mean nothing passes, since the filters' mean is 0; γ makes up for what ReLU takes of the variance.
    torch.manual_seed(0)
    x = torch.randn(64, 256, 6, 6)
    layer = ScaledStdConv2d(256, 256, 3, gamma=(2 / (1 - 1 / torch.pi)) ** 0.5, bias=False)
    y = layer(F.relu(x))
    assert y.var().item() == pytest.approx(1, rel=0.05)
    assert y.mean().item() == pytest.approx(0, abs=0.05)


def test_an_activated_norm_is_a_norm_and_relu6_forwards_and_backwards() -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNormReLU6(5).double(), nn.Sequential(nn.BatchNorm2d(5), nn.ReLU6()).double()
    nn.init.uniform_(ours.weight, 1, 6)
    theirs[0].load_state_dict(ours.state_dict())
    for training in (True, False):
        results = []
        for module in (ours.train(training), theirs.train(training)):
            x = torch.randn(
                4, 5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
            ).requires_grad_()
            y = module(x)
            norm = module if module is ours else theirs[0]
            results.append((y, *torch.autograd.grad((y * y).sum(), [x, norm.weight, norm.bias])))
        assert results[0][0].detach().max() == 6
        for got, expected in zip(*results, strict=True):
            torch.testing.assert_close(got, expected)
    torch.testing.assert_close(ours.running_var, theirs[0].running_var)


def test_an_activated_norm_keeps_its_input_and_its_result_alone() -> None:
    kept: set[int] = set()

    def note(tensor: Tensor) -> Tensor:
        if tensor.numel() == 2 * 5 * 9:
            kept.add(tensor.data_ptr())
        return tensor

    x = torch.randn(2, 5, 3, 3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = BatchNormReLU6(5)(x)
    assert kept == {x.data_ptr(), y.data_ptr()}
