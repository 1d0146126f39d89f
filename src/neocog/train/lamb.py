"""LAMB: Adam's direction, with a length that follows that of each weight (You et al. 2019, arXiv:1904.00962)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adam import adam

CHUNK = 2**20  # numbers moved at a time on a CPU, so that the memory set aside for their moves is small


class Lamb(Optimizer):
    """LAMB, algorithm 2 of You et al. 2019, with Adam's bias correction.

    The direction is r = m / (sqrt(v) + eps), m and v being Adam's corrected averages, and u = r + weight_decay * w. A
    weight w moves by -lr * (|w| / |u|) * u; the ratio of norms, one for each tensor, is 1 where either norm is 0.
    Groups without weight decay (biases and norms, which start at 0 or 1 whatever their use) move by -lr * r, as in
    timm and in NVIDIA's implementation.

    The paper clips the gradient to norm 1 first: that is the recipe's `clip_norm`.

    Args:
        groups: parameter groups with `weight_decay`.
        lr: learning rate.
        betas: shares of the old averages that a step keeps.
        eps: added to the denominator.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "fused": True})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for weights in _chunks([p for p in group["params"] if p.grad is not None]):
                self._move(weights, group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        states = [self.state[weight] for weight in weights]
        for weight, state in zip(weights, states, strict=True):
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        # Adam's fused kernel computes the averages and the direction in one pass over memory, where they would take
        # eight: it moves zeros by a rate of 1.
        moves = [torch.zeros_like(weight) for weight in weights]
        adam(
            moves,
            [weight.grad for weight in weights if weight.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=1.0,
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )
        if group["weight_decay"] == 0:
            torch._foreach_add_(weights, moves, alpha=group["lr"])
            return
        torch._foreach_add_(moves, weights, alpha=-group["weight_decay"])
        of_weights, of_moves = torch.stack(torch._foreach_norm(weights)), torch.stack(torch._foreach_norm(moves))
        ratios = torch.where((of_weights > 0) & (of_moves > 0), of_weights / of_moves, 1.0) * group["lr"]
        torch._foreach_mul_(moves, ratios.unbind())
        torch._foreach_add_(weights, moves)


def _chunks(weights: list[Tensor]) -> Iterator[list[Tensor]]:
    """Yield `weights` in order, in lists to be moved together: of about `CHUNK` numbers on a CPU, else all."""
    chunk: list[Tensor] = []
    held = 0
    for weight in weights:
        if chunk and weight.device.type == "cpu" and held + weight.numel() > CHUNK:
            yield chunk
            chunk, held = [], 0
        chunk.append(weight)
        held += weight.numel()
    if chunk:
        yield chunk
