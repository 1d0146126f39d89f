"""Stochastic gradient descent with weight decay apart from the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.sgd import sgd


class DecoupledSGD(Optimizer):
    """SGD with momentum whose weight decay stays out of the momentum (Loshchilov and Hutter 2017, algorithm 1).

    A step is w <- (1 - lr * weight_decay) w - lr * m. As in AdamW, the decay's factor is the rate of the step, peak
    and schedule together, so that the settings of one carry over to the other.

    Args:
        groups: parameter groups with `weight_decay`.
        lr: learning rate.
        momentum: share of the old gradients that a step keeps.
        nesterov: look ahead by one step of momentum.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.0, "decoupled": True}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            descend(self, group)


def descend(optimizer: Optimizer, group: dict[str, Any]) -> None:
    """Move the parameters of `group` by a step of SGD, their momentum in `optimizer`'s state as `momentum_buffer`."""
    weights = [p for p in group["params"] if p.grad is not None]
    if not weights:
        return
    buffers: list[Tensor | None] = [None] * len(weights)
    if group["momentum"]:
        for number, weight in enumerate(weights):
            state = optimizer.state[weight]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            buffers[number] = state["momentum_buffer"]
    if group["decoupled"] and group["weight_decay"]:
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
    sgd(
        weights,
        [weight.grad for weight in weights],
        buffers,
        weight_decay=0.0 if group["decoupled"] else group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=0.0,
        nesterov=group["nesterov"],
        maximize=False,
        fused=True,
    )
