"""Invertible 1×1 convolutions, whose volume change is known: what a flow mixes its channels with.

Kingma and Dhariwal 2018, "Glow", section 3.2. A flow computes likelihoods from log|det| of its Jacobian. A 1×1
convolution applies one C×C matrix W at each of the H·W positions, so that

    log |det dy/dx| = H · W · log |det W|

It generalises the permutations of channels of earlier flows: a permutation is a W whose log-determinant is zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.layers.conv import require_positive


class InvertibleConv1x1(nn.Module):
    """The plain form: W itself is learned. Starts as a random rotation, log-determinant 0.

    The determinant costs C³ operations at each step.

    Shapes: `(N, C, H, W)` to the same.

    Args:
        channels: C.

    Raises:
        UsageError: there are none.
    """

    def __init__(self, channels: int) -> None:
        require_positive(channels=channels)
        super().__init__()
        self.weight = nn.Parameter(_rotation(channels))

    def matrix(self) -> Tensor:
        """Return W, `(C, C)`."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Return W applied to the channels at each position."""
        return _applied(self.matrix(), x)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the `x` that `forward` turns into `y`.

        Raises:
            torch.linalg.LinAlgError: W has become singular.
        """
        return _applied(torch.linalg.inv(self.matrix()), y)

    def log_determinant(self, height: int, width: int) -> Tensor:
        """Return log |det| of the whole map's Jacobian, a scalar, for an input of a size; the same for every image."""
        logarithm: Tensor = torch.linalg.slogdet(self.matrix()).logabsdet
        return height * width * logarithm


class InvertibleConv1x1LU(nn.Module):
    """The LU form: W = P L (U + diag(s)), whose log-determinant is Σ log|s| and costs C operations.

    P is a permutation and fixed, as are the signs of s; L is lower triangular with ones on its diagonal, U strictly
    upper triangular, and both are learned with log|s|: equation 10 of the paper. So W stays invertible whatever is
    learned. Starts as the decomposition of a random rotation.

    Shapes: `(N, C, H, W)` to the same.

    Attributes:
        lower: L, of which what is below the diagonal counts.
        upper: U, of which what is above the diagonal counts.
        log_scale: log|s|.
        permutation: P.
        sign: of s.

    Args:
        channels: C.

    Raises:
        UsageError: there are none.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        require_positive(channels=channels)
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(_rotation(channels))
        scale = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", scale.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(scale.abs().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        lower = self.lower.tril(-1) + torch.eye(len(self.sign), dtype=self.lower.dtype, device=self.lower.device)
        return lower, self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())

    def matrix(self) -> Tensor:
        """Return W, `(C, C)`."""
        lower, upper = self._factors()
        return self.permutation @ lower @ upper

    def forward(self, x: Tensor) -> Tensor:
        """Return W applied to the channels at each position."""
        return _applied(self.matrix(), x)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the `x` that `forward` turns into `y`, by two triangular solutions."""
        lower, upper = self._factors()
        columns = self.permutation.T @ y.flatten(2)
        columns = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
        solution: Tensor = torch.linalg.solve_triangular(upper, columns, upper=True)
        return solution.view_as(y)

    def log_determinant(self, height: int, width: int) -> Tensor:
        """Return log |det| of the whole map's Jacobian, a scalar, for an input of a size; the same for every image."""
        return height * width * self.log_scale.sum()


def _rotation(channels: int) -> Tensor:
    """Return a random orthogonal matrix of determinant 1, uniformly distributed."""
    matrix = nn.init.orthogonal_(torch.empty(channels, channels))
    matrix[0] *= torch.linalg.det(matrix).sign()
    return matrix


def _applied(matrix: Tensor, x: Tensor) -> Tensor:
    return F.conv2d(x, matrix[:, :, None, None])
