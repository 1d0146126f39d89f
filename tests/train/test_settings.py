"""A setting that its group's choice does not read is refused: nothing is parsed and ignored."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers import TensorBatches, make_network
from pydantic import ValidationError

from neocog.errors import UsageError
from neocog.train.fit import fit
from neocog.train.optimizers import build_optimizer
from neocog.train.recipe import Average, Focus, Loss, Optimizer, Recipe, Schedule
from neocog.train.supervised import SupervisedTask

# A value other than the default, for each field that not every optimiser reads.
OTHER = {
    "momentum": 0.5,
    "nesterov": True,
    "betas": (0.5, 0.6),
    "rho": 0.5,
    "eps": 1e-2,
    "decoupled": True,
    "rest_lr_scale": 0.1,
    "rest_momentum": 0.5,
    "newton_schulz": 3,
    "unit_filters": True,
}
NAMES = ("sgd", "adamw", "lamb", "adadelta", "muon")


def weights(recipe: Recipe) -> torch.Tensor:
    task = SupervisedTask(make_network(norm=True), recipe.loss)
    *_, last = fit(task, TensorBatches(), recipe)
    return torch.cat([p.detach().flatten() for p in last.task.parameters()])


@pytest.mark.parametrize("name", NAMES)
def test_each_field_of_an_optimiser_either_changes_the_weights_or_is_refused(name: str) -> None:
    plain = Recipe(epochs=1, batch_size=8).override(
        {"optimizer.name": name, "optimizer.lr": 0.01, "optimizer.weight_decay": 0.1}
    )
    before = weights(plain)
    refused = {}
    everywhere = {"lr": 0.02, "weight_decay": 0.2, "decay_all": True, "head_lr_scale": 2.0}
    for field, value in (OTHER | everywhere).items():
        try:
            changed = plain.override({f"optimizer.{field}": value})
        except UsageError as error:
            refused[field] = str(error)
            continue
        assert not torch.equal(weights(changed), before), field
    reads = {
        "sgd": {"momentum", "nesterov", "decoupled"},
        "adamw": {"betas", "eps"},
        "lamb": {"betas", "eps"},
        "adadelta": {"rho", "eps"},
        "muon": {
            *("momentum", "nesterov", "decoupled", "rest_lr_scale"),
            *("rest_momentum", "newton_schulz", "unit_filters"),
        },
    }
    assert refused.keys() == OTHER.keys() - reads[name]
    for field, message in refused.items():
        assert message.startswith(f"optimizer.{field} is ")
        assert "\n" not in message


@pytest.mark.parametrize(
    ("group", "settings"),
    [
        (Loss, {"threshold": 0.2}),
        (Loss, {"name": "margin", "threshold": 0.2}),
        (Loss, {"name": "margin", "rubbish": 1.0}),
        (Loss, {"rubbish": 1.0, "label_smoothing": 0.1}),
        (Schedule, {"name": "cosine", "milestones": (1, 2)}),
        (Schedule, {"name": "cosine", "gamma": 0.5}),
        (Schedule, {"name": "step", "final": 0.1}),
        (Schedule, {"name": "exponential"}),
        (Average, {"name": "uniform", "decay": 0.9}),
        (Average, {"name": "uniform", "warmup": False}),
        (Average, {"decay": 0.9, "interval": 3}),
        (Average, {"decay": 0.9, "power": 3}),
        (Average, {"name": "lookahead"}),
        (Average, {"name": "lookahead", "decay": 0.5, "start": 0.5}),
        (Average, {"name": "lookahead", "decay": 0.5, "warmup": False}),
        (Focus, {"start": 2}),
        (Optimizer, {"name": "lamb", "even_decay": True}),
        (Optimizer, {"name": "adadelta", "even_decay": True}),
        (Optimizer, {"even_decay": True, "weight_decay": 0.0}),
        (Optimizer, {"name": "muon", "nesterov": True, "momentum": 0.0}),
        (Optimizer, {"name": "sgd", "nesterov": True, "momentum": 0.0}),
    ],
)
def test_what_cannot_go_together_is_refused(group: type, settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        group(**settings)


def test_the_message_names_the_field_who_reads_it_and_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        Recipe().override({"optimizer.name": "adamw", "optimizer.nesterov": True})
    assert str(caught.value) == (
        "optimizer.nesterov is True, but adamw does not read it (sgd and muon do): set it back to False, "
        "or choose another optimizer.name"
    )


def test_defaults_go_with_every_choice() -> None:
    for optimizer, loss in itertools.product(NAMES, ("cross_entropy", "binary_cross_entropy", "margin")):
        recipe = Recipe(optimizer=Optimizer(name=optimizer), loss=Loss(name=loss), average=Average(name="uniform"))
        assert recipe.override({}) == recipe


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_even_decay_shrinks_what_moves_faster_by_no_more(name: str) -> None:
    """A parameter whose gradient is zero moves by its decay alone."""
    settings = Optimizer(name=name, lr=0.1, weight_decay=0.2, even_decay=True, head_lr_scale=5.0)
    task = SupervisedTask(make_network())
    optimizer = build_optimizer(task.param_groups(settings), settings)
    before = {name: parameter.detach().clone() for name, parameter in task.network.named_parameters()}
    for parameter in task.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in task.network.named_parameters():
        factor = 1 - 0.1 * 0.2 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_an_average_is_on_where_it_is_uniform_or_decays() -> None:
    assert Average(name="uniform").active
    assert Average(decay=0.9).active
    assert not Average().active
