"""Adaptive gradient clipping (Brock et al. 2021, arXiv:2102.06171, section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

SMALLEST = 1e-3  # norm that a unit's weights are taken to have at least: else what starts at 0 would stay there


@torch.no_grad()
def clip_adaptively(parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Shorten, in place, each unit's gradient to at most `factor` times the norm of the unit's weights.

    A unit is what makes one output: a row of a matrix, a filter of a convolution; a vector (bias, scale) is one unit.

    Args:
        parameters: those to clip; the paper leaves the last layer alone.
        factor: the paper's lambda, such as 0.01.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            most = _unit_norms(parameter).clamp_(min=SMALLEST).mul_(factor)
            parameter.grad.mul_((most / _unit_norms(parameter.grad)).clamp_(max=1))  # 0 / 0 cannot be: most is not 0


def _unit_norms(tensor: Tensor) -> Tensor:
    """Return the norm of each unit, in a shape that multiplies `tensor`."""
    axes = tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else None
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=axes, keepdim=True)
    return norms
