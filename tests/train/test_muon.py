from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from neocog.errors import TrainingError
from neocog.models import create_model
from neocog.train.muon import Muon, orthogonalise
from neocog.train.optimizers import build_optimizer
from neocog.train.recipe import Optimizer
from neocog.train.task import decayed_and_exempt

SHAPES = [(24, 40), (24, 40), (40, 24), (16, 16), (8, 72), (30, 32)]


class DoubleForHalf(ModuleType):
    """torch, but for bfloat16, which is float64: to compare arithmetic and not rounding."""

    bfloat16 = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


def matrices(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def path(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: int = 10) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            shape = SHAPES[len(parameters) - 1] if parameter.ndim != 2 else parameter.shape
            parameter.grad = torch.randn(shape, generator=generator, dtype=parameter.dtype).view_as(parameter)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_equals_torch_s_step_by_step(monkeypatch: pytest.MonkeyPatch, nesterov: bool) -> None:
    """Torch's lr adjustment is left at its default, "original": sqrt(max(1, rows / columns))."""
    import torch.optim._muon

    monkeypatch.setattr(torch.optim._muon, "torch", DoubleForHalf("double"))
    settings = Optimizer(name="muon", lr=0.02, momentum=0.9, nesterov=nesterov, weight_decay=0.1)
    mine = matrices()
    named = [(str(number), parameter) for number, parameter in enumerate(mine)]
    ours = path(mine, build_optimizer(decayed_and_exempt(named, settings), settings))
    other = matrices()
    theirs = path(other, torch.optim.Muon(other, lr=0.02, momentum=0.9, nesterov=nesterov, weight_decay=0.1))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_muon_in_float32_equals_torch_s_to_the_rounding_of_its_bfloat16() -> None:
    mine, other = matrices(torch.float32), matrices(torch.float32)
    start = [parameter.detach().clone() for parameter in mine]
    groups = [{"params": mine, "weight_decay": 0.0, "lr_scale": 1.0, "filters": True}]
    ours = path(mine, Muon(groups, 0.02, 0.9, True))
    theirs = path(other, torch.optim.Muon(other, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.0))
    for a, b, w in zip(ours, theirs, start, strict=True):
        assert (a - b).norm() < 0.02 * (b - w).norm()


def scalar_steps(values: Tensor) -> Tensor:
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


@pytest.mark.parametrize("shape", [(12, 12), (12, 100), (100, 12), (64, 576)])
@pytest.mark.parametrize("spread", [0.0, 4.0, 20.0])
def test_each_singular_value_goes_through_the_quintic_five_times(shape: tuple[int, int], spread: float) -> None:
    """Singular values from 1 down to exp(-spread): 20 is below what float32 resolves beside 1."""
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(3, *shape, dtype=torch.float64), full_matrices=False)
    values = torch.linspace(0, -spread, min(shape), dtype=torch.float64).exp()
    given = u @ torch.diag(values) @ vh
    expected = u @ torch.diag(scalar_steps(values / values.norm())) @ vh
    torch.testing.assert_close(orthogonalise(7 * given), expected, rtol=0, atol=1e-8)
    single = orthogonalise(given.float())
    assert single.dtype == torch.float32
    # Where a singular value is below rounding, so is its direction, and neither is compared.
    error = torch.linalg.matrix_norm(single.double() - expected, ord=2)
    assert error.max() < (1e-4 if spread < 10 else 0.02)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16), (64, 576)])
def test_in_bfloat16_it_equals_torch_s(shape: tuple[int, int]) -> None:
    given = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalise(given, half=True)
    assert found.dtype == torch.float32
    for matrix, ours in zip(given, found, strict=True):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = matrix
        torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False).step()
        theirs = -weight.detach() / max(1, shape[0] / shape[1]) ** 0.5
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


@pytest.mark.parametrize("rank", [1, 8, 60])
def test_the_gradient_of_few_images_has_a_null_space_that_stays_empty(rank: int) -> None:
    """The rank of a layer's gradient is at most the number of places that it comes from."""
    torch.manual_seed(0)
    given = torch.randn(64, rank) @ torch.randn(rank, 576)
    found = orthogonalise(given[None])[0].double()
    u, values, vh = torch.linalg.svd(given.double(), full_matrices=False)
    values[rank:] = 0
    expected = u @ torch.diag(scalar_steps(values / values.norm())) @ vh
    assert torch.linalg.matrix_norm(found - expected, ord=2) < 1e-3


def test_zeros_stay_zeros() -> None:
    assert torch.equal(orthogonalise(torch.zeros(2, 4, 9)), torch.zeros(2, 4, 9))


def test_filters_are_flattened_by_output() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(6, 3, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn(6, 3, 3, 3).to(memory_format=torch.channels_last)
    groups = [{"params": [weight], "weight_decay": 0.0, "lr_scale": 1.0, "filters": True}]
    Muon(groups, 0.5, 0.9, False).step()
    expected = -0.5 * orthogonalise(weight.grad.reshape(1, 6, 27))[0]
    torch.testing.assert_close(weight.detach().reshape(6, 27), expected)


def test_all_but_filters_moves_as_torch_s_sgd_moves_it() -> None:
    torch.manual_seed(0)
    network, twin = create_model("resnet20", num_classes=10), create_model("resnet20", num_classes=10)
    twin.load_state_dict(network.state_dict())
    settings = Optimizer(name="muon", lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1, rest_lr_scale=0.5)
    body = [item for item in network.named_parameters() if not item[0].startswith("fc")]
    groups = decayed_and_exempt(body, settings) + decayed_and_exempt(
        network.get_submodule("fc").named_parameters(), settings, head=True
    )
    optimizer = build_optimizer(groups, settings)
    filters = {id(p) for group in optimizer.param_groups if group["filters"] for p in group["params"]}
    names = [name for name, p in network.named_parameters() if id(p) not in filters]
    assert all("bn" in name or "norm" in name or name.startswith("fc") for name in names), names
    assert {"fc.weight", "fc.bias"} <= set(names)
    assert any(name.startswith("conv1") for name, p in network.named_parameters() if id(p) in filters)
    rest = {name: twin.get_parameter(name) for name in names}
    sgd = torch.optim.SGD(
        [
            {"params": [rest.pop("fc.weight")], "weight_decay": 0.1},
            {"params": list(rest.values()), "weight_decay": 0.0},
        ],
        lr=0.01,
        momentum=0.9,
        nesterov=True,
    )
    for _ in range(5):
        for a, b in zip(network.parameters(), twin.parameters(), strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        optimizer.step()
        sgd.step()
    for name in names:
        torch.testing.assert_close(network.get_parameter(name), twin.get_parameter(name), rtol=1e-5, atol=1e-6)


def test_tables_of_positions_and_tokens_are_no_filters() -> None:
    settings = Optimizer(name="muon")
    tensors = {"token": (1, 1, 8), "positions": (1, 5, 8), "row": (1, 8), "matrix": (4, 8), "filters": (4, 2, 3, 3)}
    named = [(name, nn.Parameter(torch.zeros(shape))) for name, shape in tensors.items()]
    groups = decayed_and_exempt(named, settings)
    assert [(len(g["params"]), g["filters"]) for g in groups] == [(2, True), (3, False)]
    assert not any(g["filters"] for g in decayed_and_exempt(named, settings, head=True))
    assert not any(g["filters"] for g in decayed_and_exempt(named, Optimizer()))


def test_muon_without_filters_is_refused() -> None:
    head = nn.Linear(3, 2)
    settings = Optimizer(name="muon")
    with pytest.raises(TrainingError, match="use sgd"):
        build_optimizer(decayed_and_exempt(head.named_parameters(), settings, head=True), settings)


def test_filters_of_one_shape_move_as_they_would_alone() -> None:
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(4, 9)) for _ in range(3)]
    alone = [nn.Parameter(weight.detach().clone()) for weight in weights]
    together = Muon([{"params": weights, "weight_decay": 0.0, "filters": True}], 0.1)
    apart = [Muon([{"params": [weight], "weight_decay": 0.0, "filters": True}], 0.1) for weight in alone]
    for weight, twin in zip(weights, alone, strict=True):
        weight.grad = torch.randn(4, 9)
        twin.grad = weight.grad.clone()
    together.step()
    for optimizer in apart:
        optimizer.step()
    for weight, twin in zip(weights, alone, strict=True):
        torch.testing.assert_close(weight, twin)


def airbench_step(w: Tensor, buffer: Tensor, gradient: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """A step of airbench94's Muon on one filter tensor: momentum 0.6, Nesterov, three steps of Newton and Schulz."""
    w = w * (len(w) ** 0.5 / w.norm())
    buffer = 0.6 * buffer + gradient
    x = (gradient + 0.6 * buffer).flatten(1)
    x = x / x.norm()
    if x.shape[0] > x.shape[1]:
        return w - lr * three_steps(x.T).T.reshape(w.shape), buffer
    return w - lr * three_steps(x).reshape(w.shape), buffer


def three_steps(x: Tensor) -> Tensor:
    for _ in range(3):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


def airbench_network() -> nn.ModuleDict:
    """Filters wider than tall, taller than wide and nearly square, the shift of a norm, and a head."""
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "wide": nn.Conv2d(6, 8, 3, bias=False),
            "tall": nn.Conv2d(2, 40, 3, bias=False),
            "square": nn.Conv2d(2, 16, 3, bias=False),
            "norm": nn.BatchNorm2d(8),
            "head": nn.Linear(8, 5, bias=False),
        }
    ).double()


@pytest.mark.parametrize("steps", [1, 20])
def test_the_step_of_airbench94_is_that_of_its_description(steps: int) -> None:
    """Rates and decay as for a loss that is summed over a batch of 2,000; all shrink by 0.004 at the peak."""
    batch, lr, norm_lr, head_lr = 2000, 0.24, 0.053 * 2000, 0.67 * 2000
    settings = Optimizer(
        name="muon", lr=lr, momentum=0.6, rest_momentum=0.85, nesterov=True, newton_schulz=3, unit_filters=True,
        rest_lr_scale=norm_lr / lr, head_lr_scale=head_lr / norm_lr, weight_decay=0.004 / lr, decay_all=True,
        even_decay=True,
    )  # fmt: skip
    network, plain = airbench_network(), airbench_network()
    body = [item for item in network.named_parameters() if not item[0].startswith("head")]
    head = decayed_and_exempt(network["head"].named_parameters(), settings, lr_scale=settings.head_lr_scale, head=True)
    optimizer = build_optimizer(decayed_and_exempt(body, settings) + head, settings)
    theirs = dict(plain.named_parameters())
    sgd = torch.optim.SGD(
        [
            {"params": [theirs["norm.weight"], theirs["norm.bias"]], "lr": 0.053, "weight_decay": 0.004 / 0.053},
            {"params": [theirs["head.weight"]], "lr": 0.67, "weight_decay": 0.004 / 0.67},
        ],
        momentum=0.85,
        nesterov=True,
    )
    buffers = {name: torch.zeros_like(theirs[f"{name}.weight"]) for name in ("wide", "tall", "square")}
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for name, parameter in network.named_parameters():
            parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            theirs[name].grad = batch * parameter.grad
        optimizer.step()
        sgd.step()
        for name, buffer in buffers.items():
            w = theirs[f"{name}.weight"]
            moved, buffers[name] = airbench_step(w.detach(), buffer, batch * parameter_gradient(network, name), lr)
            w.data.copy_(moved)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-9, atol=1e-9, msg=name)


def parameter_gradient(network: nn.Module, name: str) -> Tensor:
    gradient = network.get_parameter(f"{name}.weight").grad
    assert gradient is not None
    return gradient


@pytest.mark.parametrize("steps", [1, 3, 5, 6])
@pytest.mark.parametrize("unit_filters", [False, True])
def test_with_other_steps_and_norms_muon_equals_torch_s(
    monkeypatch: pytest.MonkeyPatch, steps: int, unit_filters: bool
) -> None:
    """Torch does not rescale the filters: here that is done for it, and its factor for tall ones taken out."""
    import torch.optim._muon

    monkeypatch.setattr(torch.optim._muon, "torch", DoubleForHalf("double"))
    mine, other = matrices(), matrices()
    decay = 0.0 if unit_filters else 0.1
    groups = [{"params": mine, "weight_decay": 0.1, "filters": True}]
    ours = Muon(groups, 0.02, 0.9, True, newton_schulz=steps, unit_filters=unit_filters)
    lrs = [0.02 / max(1, len(w) / w.shape[1]) ** 0.5 if unit_filters else 0.02 for w in other]
    theirs = [
        torch.optim.Muon([w], lr=lr, momentum=0.9, nesterov=True, weight_decay=decay, ns_steps=steps)
        for w, lr in zip(other, lrs, strict=True)
    ]
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for a, b in zip(mine, other, strict=True):
            a.grad = torch.randn(a.shape, generator=generator, dtype=a.dtype)
            b.grad = a.grad.clone()
            if unit_filters:
                b.data.mul_(len(b) ** 0.5 / b.data.norm())
        ours.step()
        for optimizer in theirs:
            optimizer.step()
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_filters_of_zeros_and_of_either_layout_are_brought_to_one_norm() -> None:
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.randn(6, 3, 3, 3))]
    weights.append(nn.Parameter(weights[1].detach().clone().to(memory_format=torch.channels_last)))
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    Muon([{"params": weights, "weight_decay": 0.5, "filters": True}], 0.1, unit_filters=True).step()
    assert torch.equal(weights[0], torch.zeros(2, 3))
    torch.testing.assert_close(weights[1].norm() ** 2, torch.tensor(6.0))
    torch.testing.assert_close(weights[2], weights[1])


@pytest.mark.parametrize("momentum", [0.0, 0.6])
@pytest.mark.parametrize("rest", [0.0, 0.85, None])
def test_either_part_may_go_without_a_momentum(momentum: float, rest: float | None) -> None:
    nesterov = momentum > 0
    settings = Optimizer(name="muon", momentum=momentum, rest_momentum=rest, nesterov=nesterov, lr=0.1, weight_decay=0)
    weight, bias = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3))
    optimizer = build_optimizer(decayed_and_exempt([("w", weight), ("b", bias)], settings), settings)
    theirs = nn.Parameter(torch.ones(3))
    own = momentum if rest is None else rest
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=own, nesterov=nesterov and own > 0)
    for _ in range(3):
        weight.grad, bias.grad = torch.randn(3, 4), torch.randn(3)
        theirs.grad = bias.grad.clone()
        optimizer.step()
        sgd.step()
    torch.testing.assert_close(bias, theirs)
    assert bool(torch.isfinite(weight).all())
