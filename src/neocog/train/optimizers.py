"""From a recipe's settings to one optimiser object."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD, AdamW
from torch.optim import Optimizer as TorchOptimizer

from neocog.errors import TrainingError
from neocog.train.recipe import Optimizer


def build_optimizer(groups: list[dict[str, Any]], settings: Optimizer) -> TorchOptimizer:
    """Return the optimiser of `settings` over parameter groups with `lr_scale`.

    The fused forms are used: they update all parameters in one pass over memory and compute the same numbers.
    """
    if not groups:
        raise TrainingError("nothing to train: no parameter of this task requires a gradient")
    groups = [{**group, "lr": settings.lr * group["lr_scale"]} for group in groups]
    if settings.name == "sgd":
        return SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov, fused=True)
    return AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)


def set_learning_rate(optimizer: TorchOptimizer, lr: float) -> None:
    """Give every parameter group its share of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
