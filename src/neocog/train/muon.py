"""Muon: steps of equal length in every direction that a filter's gradient has (Jordan et al. 2024)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from neocog.train.precision import computes_in_bf16
from neocog.train.sgd import descend

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
TINY = 1e-7  # a gradient of zeros stays zeros, and so does a filter
WIDE = 1.5  # columns per row from which the iteration on the products of rows takes fewer multiplications, in any steps


class Muon(Optimizer):
    """Muon for filters, SGD for the rest, as one optimiser (Jordan et al. 2024, "Muon: an optimizer for hidden
    layers in neural networks").

    Filters are the groups marked `filters`. Each is flattened to a matrix (out, in * height * width); its gradient's
    momentum, looking ahead with `nesterov`, is brought close to the nearest matrix with orthonormal rows or columns,
    and the filter moves by -lr * sqrt(max(1, rows / columns)) times that: the scaling of Jordan et al., which is also
    the default of `torch.optim.Muon`. Weight decay of filters is always decoupled: w <- (1 - lr * weight_decay) w.

    With `unit_filters` each filter tensor is brought to the Frobenius norm sqrt(out) before every step instead, as a
    matrix with orthonormal rows has it: no decay, and no factor on the update (Jordan, "airbench94_muon", 2024).

    All other groups move by SGD, with a rate and `decoupled` decay of their own. `lr`, `momentum` and `nesterov` hold
    for those groups that do not say otherwise.

    Args:
        groups: parameter groups with `filters` and `weight_decay`.
        lr: learning rate.
        momentum: share of the old gradients that a step keeps.
        nesterov: look ahead by one step of momentum.
        decoupled: keep the weight decay of what SGD moves apart from its momentum.
        newton_schulz: steps of the iteration in `orthogonalise`.
        unit_filters: bring filters to one norm before each step.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        decoupled: bool = False,
        *,
        newton_schulz: int = STEPS,
        unit_filters: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.0, "decoupled": decoupled}
        super().__init__(groups, defaults)
        self.newton_schulz, self.unit_filters = newton_schulz, unit_filters

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            if group["filters"]:
                self._move_filters(group)
            else:
                descend(self, group)

    def _move_filters(self, group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        weights = [p for p in group["params"] if p.grad is not None]
        if not weights:
            return
        gradients = [weight.grad for weight in weights]
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        moves = torch._foreach_add(gradients, buffers, alpha=momentum) if group["nesterov"] else buffers
        if self.unit_filters:
            _to_unit_norms(weights)
        elif group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
        # Matrices of one shape are multiplied together: a network has many layers of few shapes.
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, weight in enumerate(weights):
            alike[len(weight), weight.numel() // len(weight)].append(number)
        for (rows, columns), numbers in alike.items():
            stacked = torch.stack([moves[number].reshape(rows, columns) for number in numbers])
            half = stacked.device.type == "cuda" and computes_in_bf16("cuda")
            scale = 1.0 if self.unit_filters else max(1.0, rows / columns) ** 0.5
            updates = orthogonalise(stacked, half=half, steps=self.newton_schulz)
            for number, matrix in zip(numbers, updates, strict=True):
                weights[number].add_(matrix.view(weights[number].shape), alpha=-lr * scale)


def _to_unit_norms(weights: list[Tensor]) -> None:
    """Bring each filter tensor `(out, ...)` to the Frobenius norm sqrt(out): a norm of 1 an output in the mean."""
    norms = torch._foreach_norm(weights)
    torch._foreach_clamp_min_(norms, TINY)
    torch._foreach_div_(norms, [len(weight) ** 0.5 for weight in weights])
    torch._foreach_div_(weights, norms)


def orthogonalise(matrices: Tensor, *, half: bool = False, steps: int = STEPS) -> Tensor:
    """Return matrices `(B, m, n)` with the same singular vectors and singular values near 1 (0.7 to 1.2).

    Divided by its Frobenius norm, a matrix X goes `steps` times through aX + b(XXᵀ)X + c(XXᵀ)²X, Newton-Schulz'
    iteration with the coefficients of Jordan et al., which are chosen for the steepest rise of small singular values.
    Five are theirs; with fewer, more of the small ones stay small.

    With `half` that is computed in bfloat16. Otherwise it is in the matrices' own precision, and there the iteration
    of a wide matrix runs on its small product S = XXᵀ alone: with P = aI + bS + cS², one step takes X to PX and S to
    PSP, so that X is multiplied twice and not twice a step. (bfloat16 is too coarse for that: what rounding leaves in
    the null space of S grows twelvefold a step.)
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if half else matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=TINY)
    if not half and x.shape[2] >= WIDE * x.shape[1]:
        x = _product(x @ x.mT, steps) @ x
    else:
        for _ in range(steps):
            s = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def _product(s: Tensor, steps: int) -> Tensor:
    """Return the product of all steps' P for S `(B, m, m)`: what X is to be multiplied by from the left."""
    a, b, c = COEFFICIENTS
    whole: Tensor | None = None
    for step in range(steps):
        p = torch.baddbmm(s, s, s, beta=b, alpha=c)
        p.diagonal(dim1=1, dim2=2).add_(a)
        whole = p if whole is None else p @ whole
        if step < steps - 1:
            s = p @ s @ p
    assert whole is not None
    return whole
