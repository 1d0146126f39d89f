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
