"""Activations that torch does not have, or not as they are needed here; and the formulas of some that it has."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neocog.errors import UsageError

TANH_AMPLITUDE = 1.7159
TANH_SLOPE = 2 / 3


def scaled_tanh(x: Tensor) -> Tensor:
    """Return 1.7159 tanh(2/3 x), which maps -1 to -1 and 1 to 1 where its curvature is greatest.

    LeCun, Bottou, Bengio and Haffner 1998, appendix A.
    """
    return TANH_AMPLITUDE * torch.tanh(TANH_SLOPE * x)


def relu6(x: Tensor) -> Tensor:
    """Return min(max(x, 0), 6), keeping its result for the backward pass where torch's keeps `x`.

    The next layer keeps that result anyway. After a batch norm, which has no use for its own output, nobody else keeps
    `x`: training MobileNetV2 holds 31 % less between its two passes. `torch.nn.functional.relu` does the same.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        result: Tensor = _ReLU6.apply(x)
        return result
    return F.relu6(x)


class _ReLU6(torch.autograd.Function):
    """The result lies strictly between 0 and 6 exactly where the argument does, so that either gives the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return F.relu6(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.hardtanh_backward(gradient, result, 0.0, 6.0)
        return passed


def maxout(x: Tensor, pieces: int = 2) -> Tensor:
    """Return the largest of every `pieces` neighbouring channels.

    Goodfellow, Warde-Farley, Mirza, Courville and Bengio 2013, "Maxout networks", arXiv:1302.4389, section 3. After a
    linear layer that is the largest of `pieces` linear functions, and so any convex, piecewise linear one.

    Shapes: `(N, pieces * C, ...)` to `(N, C, ...)`.

    Raises:
        UsageError: channels that `pieces` does not divide.
    """
    channels = x.shape[1]
    if pieces < 1 or channels % pieces:
        raise UsageError(f"maxout takes the largest of every {pieces} channels, which does not divide {channels}")
    if not (torch.is_grad_enabled() and x.requires_grad):
        largest = x[:, ::pieces]
        for piece in range(1, pieces):
            largest = torch.maximum(largest, x[:, piece::pieces])
        return largest
    # Slower by itself, but autograd keeps only indices, and the backward pass is one scatter.
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        last: Tensor = torch.unflatten(x.permute(0, 2, 3, 1), -1, (channels // pieces, pieces)).max(-1).values
        return last.permute(0, 3, 1, 2)
    chosen: Tensor = torch.unflatten(x, 1, (channels // pieces, pieces)).max(2).values
    return chosen


def squash(x: Tensor, dim: int = -1) -> Tensor:
    """Return vectors of the same direction whose length is |x|² / (1 + |x|²), so that it can be a probability.

    Sabour, Frosst and Hinton 2017, "Dynamic routing between capsules", arXiv:1710.09829, equation 1. Written as
    x |x| / (1 + |x|²) it divides by nothing that can be zero: a vector of zeros stays one, with a gradient of zero.

    Args:
        x: capsules, of any shape.
        dim: the axis along which a capsule's numbers lie.
    """
    length: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x * (length / (1 + length.square()))


# Formulas to read. Networks use torch's own, which compute the same in one operation.


def silu(x: Tensor) -> Tensor:
    """Return x σ(x), also called swish: `torch.nn.functional.silu`.

    Elfwing, Uchibe and Doya 2017, arXiv:1702.03118, equation 4; Ramachandran, Zoph and Le 2017, arXiv:1710.05941.
    """
    return x / (1 + torch.exp(-x))


def hard_swish(x: Tensor) -> Tensor:
    """Return x min(max(x + 3, 0), 6) / 6, silu with a sigmoid of straight lines: `torch.nn.functional.hardswish`.

    Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244, section 5.2.
    """
    return x * (x + 3).clamp(0, 6) / 6


def gelu(x: Tensor) -> Tensor:
    """Return x Φ(x), with Φ(x) the share of normal numbers below x: `torch.nn.functional.gelu`.

    Hendrycks and Gimpel 2016, "Gaussian error linear units", arXiv:1606.08415, section 2.
    """
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Tensor) -> Tensor:
    """Return the same paper's approximation: `torch.nn.functional.gelu(x, approximate="tanh")`."""
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
