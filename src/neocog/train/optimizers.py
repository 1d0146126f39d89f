"""From a recipe's settings to one optimiser object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, Adadelta, AdamW
from torch.optim import Optimizer as TorchOptimizer

from neocog.errors import TrainingError
from neocog.train.lamb import Lamb
from neocog.train.muon import Muon
from neocog.train.recipe import Optimizer
from neocog.train.sgd import DecoupledSGD

EPS = {"adamw": 1e-8, "lamb": 1e-6, "adadelta": 1e-6}


def build_optimizer(groups: list[dict[str, Any]], settings: Optimizer) -> TorchOptimizer:
    """Return the optimiser of `settings` over parameter groups as `Task.param_groups` returns them.

    Fused kernels are used where there are any: they update all parameters in one pass over memory and compute the same
    numbers. Every optimiser keeps what it counts in tensors, so that a checkpoint holds it.

    Raises:
        TrainingError: there is nothing to train, or nothing for Muon to orthogonalise.
    """
    if not groups:
        raise TrainingError("nothing to train: no parameter of this task requires a gradient")
    lr, name = settings.lr, settings.name
    if name == "muon":
        groups = [_for_muon(group, settings) for group in groups]
        if not any(group["filters"] for group in groups):
            raise TrainingError("optimizer.name muon moves filters, and none is trained here: use sgd")
    if settings.even_decay:
        groups = [{**group, "weight_decay": group["weight_decay"] / group["lr_scale"]} for group in groups]
    groups = [{**group, "lr": lr * group["lr_scale"]} for group in groups]
    eps = EPS.get(name, 0.0) if settings.eps is None else settings.eps
    if name == "adamw":
        return AdamW(groups, lr=lr, betas=settings.betas, eps=eps, fused=True)
    if name == "lamb":
        return Lamb(groups, lr, settings.betas, eps)
    if name == "adadelta":
        return Adadelta(groups, lr=lr, rho=settings.rho, eps=eps)
    if name == "muon":
        return Muon(
            groups,
            lr,
            settings.momentum,
            settings.nesterov,
            settings.decoupled,
            newton_schulz=settings.newton_schulz,
            unit_filters=settings.unit_filters,
        )
    if settings.decoupled:
        return DecoupledSGD(groups, lr, settings.momentum, settings.nesterov)
    return _with_momentum(SGD(groups, lr=lr, momentum=settings.momentum, nesterov=settings.nesterov, fused=True))


def _with_momentum(optimizer: SGD) -> SGD:
    """Begin every momentum at zero, from which the first gradient makes what it would make of none.

    The fused kernel cannot do with some parameters that have one and some that were frozen until now.
    """
    for group in optimizer.param_groups:
        if group["momentum"]:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _for_muon(group: dict[str, Any], settings: Optimizer) -> dict[str, Any]:
    """Return a group marked as filters, or as the rest with a rate and a momentum of its own."""
    filters = group.get("filters", False)
    own = settings.momentum if filters or settings.rest_momentum is None else settings.rest_momentum
    return {
        **group,
        "filters": filters,
        "lr_scale": group["lr_scale"] * (1.0 if filters else settings.rest_lr_scale),
        "momentum": own,
        "nesterov": settings.nesterov and own > 0,
    }


def set_learning_rate(optimizer: TorchOptimizer, rate: Callable[[float | None], float]) -> None:
    """Give every parameter group its share of the rate, which `rate` returns for the epoch it moves until, or None."""
    for group in optimizer.param_groups:
        group["lr"] = rate(group.get("until")) * group["lr_scale"]
