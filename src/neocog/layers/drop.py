"""Stochastic depth: residual blocks that are left out at random while training.

Huang, Sun, Liu, Sedra and Weinberger 2016, "Deep networks with stochastic depth", arXiv:1603.09382.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from neocog.errors import UnknownNameError, UsageError

Mode = Literal["batch", "row"]


class StochasticDepth(nn.Module):
    """The sum of a residual block, `identity + F`, in which F survives with the probability `survival`.

    - "batch" is the paper's (equations 2 and 5): one decision a mini-batch. Where F does not survive it is not
      computed, neither forwards nor backwards; that is the time which the paper saves. At test time F is multiplied
      by `survival`.
    - "row" is that of most networks since 2019: one decision an image, so that all of F is computed. A surviving F is
      divided by `survival`, and at test time nothing is left to do.

    Either way the expected sum while training is the sum at test time.

        >>> self.depth = StochasticDepth(0.8)
        >>> y = F.relu(self.depth(self.shortcut(x), lambda: self.residual(x)))

    Decisions come from torch's default generator; `neocog.train.fit` seeds it anew for each step. Parameters of a
    block that was left out have no gradient in that step (None, not zeros), so that an optimiser passes them over,
    weight decay and momentum included; DistributedDataParallel must be told `find_unused_parameters=True`, or the
    block give them zeros by `with_zero_gradients`. On the meta device, where networks are only described, every
    block survives.

    Args:
        survival: probability in (0, 1]; with 1 the sum is an ordinary one.
        mode: "batch" or "row".

    Raises:
        UsageError: a probability outside of (0, 1], or an unknown mode.
    """

    def __init__(self, survival: float, mode: Mode = "batch") -> None:
        super().__init__()
        _check(survival)
        if mode not in get_args(Mode):
            raise UnknownNameError("mode of stochastic depth", mode, get_args(Mode))
        self.survival, self.mode = survival, mode

    def forward(self, identity: Tensor, residual: Callable[[], Tensor]) -> Tensor:
        """Return the sum `(N, ...)`. Where F is left out that is `identity` itself: do not write into it.

        Args:
            identity: what goes around the block, `(N, ...)`.
            residual: computes F, of the same shape.
        """
        if self.survival == 1:
            return identity + residual()
        if self.mode == "row":
            return add_rows(identity, residual(), self.survival) if self.training else identity + residual()
        if not self.training:
            return torch.add(identity, residual(), alpha=self.survival)
        return identity + residual() if survives(self.survival, identity) else identity

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"survival={self.survival:.4g}, mode={self.mode!r}"


def add_rows(identity: Tensor, residual: Tensor, survival: float) -> Tensor:
    """Return the sum `(N, ...)` in which each image's F survives with the probability `survival`, divided by it."""
    scale = residual.new_empty((len(residual),) + (1,) * (residual.ndim - 1))
    scale.bernoulli_(survival).div_(survival)
    return torch.addcmul(identity, residual, scale)


def survives(survival: float, x: Tensor) -> bool:
    """Decide for the mini-batch `x` whether a block survives: True with the probability `survival`, on meta always."""
    # Drawn on the CPU whatever the device, so that no GPU has to be waited for.
    return x.is_meta or bool(torch.rand((), device="cpu") < survival)


def with_zero_gradients(x: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """Return `x` `(N, ...)` in a graph in which `parameters`, that it does not depend on, get gradients of zero.

    For blocks that were left out where every parameter has to have a gradient: weight decay and momentum then move it
    as they would have, and DistributedDataParallel, which waits for each, need not look for those without.
    """
    unused = [parameter for parameter in parameters if parameter.requires_grad]
    if not unused or not torch.is_grad_enabled():
        return x
    result: Tensor = _ZeroGradients.apply(x, *unused)
    return result


class _ZeroGradients(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, *unused: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return gradient, *(torch.zeros_like(unused) for unused in ctx.saved_tensors)


def linear_decay(blocks: int, last: float) -> tuple[float, ...]:
    """Return the survival of each of `blocks` blocks, p_l = 1 - l / L (1 - p_L) for l = 1 ... L (equation 4).

    The paper takes 0.5 for the last one, p_L: of the 54 blocks of ResNet-110 an expected 40.25 survive.

    Raises:
        UsageError: no block, or a probability outside of (0, 1].
    """
    if blocks < 1:
        raise UsageError(f"survival decays over at least 1 block, not {blocks}")
    _check(last)
    return tuple(1 - block / blocks * (1 - last) for block in range(1, blocks + 1))


def _check(survival: float) -> None:
    if not 0 < survival <= 1:
        raise UsageError(f"survival is a probability above 0 and at most 1, not {survival}")
