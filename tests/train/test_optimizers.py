"""Every optimiser against another library's or the paper's formula, and resumed in the middle."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest
import torch
from helpers import TensorBatches, make_network
from torch import nn
from torch.nn import functional as F

from neocog.errors import TrainingError
from neocog.models import create_model
from neocog.train.fit import fit
from neocog.train.optimizers import build_optimizer
from neocog.train.precision import Precision
from neocog.train.recipe import Optimizer, Recipe
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask
from neocog.train.task import decayed_and_exempt

STEPS = 10


def small_resnet(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return create_model("resnet20", num_classes=10).to(dtype)


def gradients(network: nn.Module, step: int) -> None:
    """Give `network` the gradient of a batch of its own at each step."""
    generator = torch.Generator().manual_seed(step)
    dtype = next(network.parameters()).dtype
    images = torch.randn(4, 3, 8, 8, generator=generator, dtype=dtype)
    network.zero_grad()
    F.cross_entropy(network(images), torch.arange(4)).backward()


def assert_same_path(
    settings: Optimizer,
    make_theirs: Callable[[list[dict]], torch.optim.Optimizer],
    dtype: torch.dtype = torch.float64,
    clip_norm: float | None = None,
    tolerance: float = 1e-9,
) -> None:
    """Train a network twice and compare all its weights after each step."""
    ours, theirs = small_resnet(dtype), small_resnet(dtype)
    mine = build_optimizer(decayed_and_exempt(ours.named_parameters(), settings), settings)
    precision = Precision("fp32", "cpu", clip_norm)
    kept = ("params", "weight_decay")
    groups = decayed_and_exempt(theirs.named_parameters(), settings)
    other = make_theirs([{name: group[name] for name in kept} for group in groups])
    for step in range(STEPS):
        gradients(ours, step)
        gradients(theirs, step)
        precision.update(mine)
        other.step()
        torch.testing.assert_close(
            nn.utils.parameters_to_vector(ours.parameters()),
            nn.utils.parameters_to_vector(theirs.parameters()),
            rtol=tolerance,
            atol=tolerance,
            msg=lambda message, step=step: f"step {step}: {message}",
        )


@pytest.mark.parametrize("decay", [0.02, 0.0])
def test_lamb_equals_timm_s_step_by_step(decay: float) -> None:
    from timm.optim import Lamb

    assert_same_path(
        Optimizer(name="lamb", lr=5e-3, weight_decay=decay, betas=(0.8, 0.95), eps=1e-5),
        lambda groups: Lamb(groups, lr=5e-3, betas=(0.8, 0.95), eps=1e-5, max_grad_norm=None),
    )


def test_lamb_in_float32_with_its_own_eps_and_the_gradient_clipped_first_equals_timm_s() -> None:
    from timm.optim import Lamb

    assert_same_path(
        Optimizer(name="lamb", lr=5e-3, weight_decay=0.02),
        lambda groups: Lamb(groups, lr=5e-3, max_grad_norm=1.0),
        dtype=torch.float32,
        clip_norm=1.0,
        tolerance=2e-3,  # the networks drift apart by rounding; timm divides by the norm, torch by it plus 1e-6
    )


def test_lamb_of_given_gradients_in_float32_equals_timm_s_to_rounding() -> None:
    from timm.optim import Lamb

    ours, theirs = small_resnet(torch.float32), small_resnet(torch.float32)
    settings = Optimizer(name="lamb", lr=5e-3, weight_decay=0.02)
    mine = build_optimizer(decayed_and_exempt(ours.named_parameters(), settings), settings)
    other = Lamb(
        [
            {k: g[k] for k in ("params", "weight_decay")}
            for g in decayed_and_exempt(theirs.named_parameters(), settings)
        ],
        lr=5e-3,
        max_grad_norm=None,
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        mine.step()
        other.step()
    vectors = [nn.utils.parameters_to_vector(network.parameters()) for network in (ours, theirs)]
    torch.testing.assert_close(*vectors, rtol=1e-5, atol=1e-6)


def test_lamb_moves_weights_that_are_zero_and_leaves_those_without_gradient() -> None:
    zero, untouched = nn.Parameter(torch.zeros(3, 3)), nn.Parameter(torch.ones(2, 2))
    groups = [{"params": [zero, untouched], "weight_decay": 0.1, "lr_scale": 1.0}]
    optimizer = build_optimizer(groups, Optimizer(name="lamb", lr=0.5))
    zero.grad = torch.full((3, 3), 2.0)
    optimizer.step()
    torch.testing.assert_close(zero.detach(), torch.full((3, 3), -0.5), rtol=1e-5, atol=0)
    assert torch.equal(untouched, torch.ones(2, 2))


@pytest.mark.parametrize("nesterov", [False, True])
def test_decoupled_sgd_equals_timm_s(nesterov: bool) -> None:
    from timm.optim.sgdw import SGDW

    assert_same_path(
        Optimizer(name="sgd", lr=0.05, momentum=0.9, nesterov=nesterov, weight_decay=0.02, decoupled=True),
        lambda groups: SGDW(groups, lr=0.05, momentum=0.9, nesterov=nesterov),
    )


def test_decoupled_decay_stays_out_of_the_momentum() -> None:
    """Loshchilov and Hutter 2017, algorithm 1, line by line."""
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    settings = Optimizer(lr=0.1, momentum=0.5, weight_decay=0.3, decoupled=True)
    optimizer = build_optimizer([{"params": [weight], "weight_decay": 0.3, "lr_scale": 1.0}], settings)
    w, m = weight.detach().clone(), torch.zeros(1, 2, dtype=torch.float64)
    for step in range(4):
        weight.grad = torch.tensor([[0.5, 1.0 + step]], dtype=torch.float64)
        m = 0.5 * m + weight.grad
        w = w - 0.1 * m - 0.1 * 0.3 * w
        optimizer.step()
    torch.testing.assert_close(weight.detach(), w)


def test_sgd_without_momentum_keeps_no_state() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    settings = Optimizer(lr=0.1, momentum=0.0, weight_decay=0.5, decoupled=True)
    optimizer = build_optimizer([{"params": [weight], "weight_decay": 0.5, "lr_scale": 1.0}], settings)
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.85))
    assert not optimizer.state_dict()["state"]


def test_adadelta_is_the_paper_s_algorithm_1() -> None:
    """Zeiler 2012, algorithm 1, with the rate as a factor on the step."""
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    settings = Optimizer(name="adadelta", lr=1.0, rho=0.9, eps=1e-4, weight_decay=0.0)
    optimizer = build_optimizer([{"params": [weight], "weight_decay": 0.0, "lr_scale": 1.0}], settings)
    w = weight.detach().clone()
    squares, moves = torch.zeros_like(w), torch.zeros_like(w)
    for step in range(5):
        g = torch.tensor([[0.5, step - 1.0]], dtype=torch.float64)
        squares = 0.9 * squares + 0.1 * g**2
        move = -((moves + 1e-4).sqrt() / (squares + 1e-4).sqrt()) * g
        moves = 0.9 * moves + 0.1 * move**2
        w = w + move
        weight.grad = g
        optimizer.step()
    torch.testing.assert_close(weight.detach(), w)


def test_eps_and_betas_reach_adamw() -> None:
    assert_same_path(
        Optimizer(name="adamw", lr=1e-3, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
        lambda groups: torch.optim.AdamW(groups, lr=1e-3, betas=(0.8, 0.9), eps=1e-3, foreach=False),
    )


@pytest.mark.parametrize(("name", "eps"), [("adamw", 1e-8), ("lamb", 1e-6), ("adadelta", 1e-6)])
def test_eps_left_out_is_the_optimiser_s_own(name: str, eps: float) -> None:
    groups = [{"params": [nn.Parameter(torch.ones(2, 2))], "weight_decay": 0.0, "lr_scale": 1.0}]
    assert build_optimizer(groups, Optimizer(name=name)).param_groups[0]["eps"] == eps


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(TrainingError, match="nothing to train"):
        build_optimizer([], Optimizer())


CHOICES = {
    "sgd": {"optimizer.nesterov": True},
    "sgd decoupled": {"optimizer.decoupled": True, "average.name": "uniform", "average.start": 0.3},
    "adamw": {"optimizer.name": "adamw", "average.decay": 0.9, "average.start": 0.4},
    "lamb": {"optimizer.name": "lamb", "clip_norm": 1.0, "average.decay": 0.9},
    "adadelta": {"optimizer.name": "adadelta", "clip_adaptive": 0.02, "average.name": "uniform"},
    "muon": {"optimizer.name": "muon", "optimizer.nesterov": True, "optimizer.rest_lr_scale": 0.1},
    "muon as in airbench": {
        "optimizer.name": "muon",
        "optimizer.rest_momentum": 0.5,
        "optimizer.newton_schulz": 3,
        "optimizer.unit_filters": True,
        "optimizer.even_decay": True,
        "average.name": "lookahead",
        "average.decay": 0.5,
    },
    "muon decoupled": {"optimizer.name": "muon", "optimizer.decoupled": True, "average.name": "uniform"},
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_run_broken_off_in_the_middle_ends_in_the_same_bits(choice: str, layout: torch.memory_format) -> None:
    recipe = Recipe(epochs=3, batch_size=8).override({"optimizer.lr": 0.01, **CHOICES[choice]})

    def task() -> SupervisedTask:
        return SupervisedTask(make_network(norm=True, dropout=0.5).to(memory_format=layout), recipe.loss)

    *_, whole = fit(task(), TensorBatches(), recipe)
    for stop in (1, 4):
        for state in fit(task(), TensorBatches(), recipe):
            if state.step == stop:
                break
        kept = {name: tensor.contiguous().clone() for name, tensor in state.tensors().items()}
        meta = json.loads(json.dumps(state.meta()))
        again = task()
        resumed = State.start(again, recipe, TensorBatches().steps_per_epoch)
        resumed.restore(kept, meta)
        *_, last = fit(again, TensorBatches(), recipe, resumed)
        expected = whole.tensors()
        assert last.tensors().keys() == expected.keys()
        for name, tensor in last.tensors().items():
            assert torch.equal(tensor, expected[name]), (stop, name)


@pytest.mark.parametrize("choice", CHOICES)
def test_what_an_optimiser_counts_and_keeps_is_in_tensors(choice: str) -> None:
    recipe = Recipe(epochs=1, batch_size=8).override(CHOICES[choice])
    *_, last = fit(SupervisedTask(make_network()), TensorBatches(), recipe)
    saved = last.optimizer.state_dict()["state"]
    assert saved
    assert all(isinstance(value, torch.Tensor) for entries in saved.values() for value in entries.values())
    assert all(
        not isinstance(value, torch.Tensor)
        for group in last.optimizer.param_groups
        for key, value in group.items()
        if key != "params"
    )


@pytest.mark.parametrize("choice", CHOICES)
def test_a_step_that_float16_skips_moves_and_counts_nothing(choice: str) -> None:
    recipe = Recipe(epochs=1, batch_size=8).override({"precision": "fp16", **CHOICES[choice]})
    task = SupervisedTask(make_network())
    state = State.start(task, recipe, 3)
    parameters = list(task.parameters())
    for number in range(3):
        state.precision.backward(sum((p.square().sum() for p in parameters), torch.zeros(())))
        if number == 1:
            parameters[0].grad.fill_(torch.inf)
        before = copy.deepcopy({k: v for k, v in state.tensors().items() if not k.startswith("average")})
        assert state.precision.update(state.optimizer) == (number != 1)
        after = state.tensors()
        same = all(torch.equal(tensor, after[name]) for name, tensor in before.items())
        assert same == (number == 1)
