"""`Task`: what one trains. The loop knows tasks and never a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from neocog.data.loading import Batch, Batches
from neocog.layers.drop import StochasticDepth
from neocog.train.recipe import Optimizer


@dataclass(frozen=True)
class TaskLoss:
    """What a task returns for one micro-batch.

    Attributes:
        total: scalar to differentiate, a mean over the images of the micro-batch.
        parts: further scalars to log, detached, such as the accuracy on the batch.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class Task(nn.Module):
    """A module that takes a batch and returns its loss; supervised training, distillation or a pretext are tasks."""

    def forward(self, batch: Batch) -> TaskLoss:
        """Return the loss of one micro-batch."""
        raise NotImplementedError

    def param_groups(self, settings: Optimizer) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups.

        Each has `params`, `weight_decay`, and `lr_scale`: the factor on the recipe's rate that the schedule keeps.
        Three marks may stand beside them: `filters`, that Muon orthogonalises their steps (only where it is the
        optimiser); `head`, that they are the last layer's, which adaptive clipping spares; and `until`, the epochs
        after which they move no more, to which their rate falls linearly.
        """
        return decayed_and_exempt(self.named_parameters(), settings)

    def prepare(self, batches: Batches) -> None:
        """Run once before the first step, and not on resume: statistics of the data, whitening, codebooks."""

    def begin(self, epoch: float) -> None:
        """Hear before each step how far training is, in epochs: for freezing, and for losses that change.

        What a task does with it must follow from `epoch` alone, so that a resumed run does the same.
        """

    @property
    def skips_parameters(self) -> bool:
        """Whether a step may leave some parameters without a gradient, for which several processes must look."""
        return any(
            isinstance(module, StochasticDepth) and module.mode == "batch" and module.survival < 1
            for module in self.modules()
        )

    def after_step(self) -> None:
        """Run after each update of the parameters: momentum encoders, centring."""


def decayed_and_exempt(
    parameters: Iterable[tuple[str, nn.Parameter]], settings: Optimizer, *, lr_scale: float = 1.0, head: bool = False
) -> list[dict[str, Any]]:
    """Split parameters that move into those that weight decay shrinks and those that it spares.

    Biases and the scales and shifts of normalisation have one dimension. Decaying them pulls a layer's output
    towards zero without making the function any simpler, so they are spared unless `settings.decay_all`.

    Args:
        parameters: with their names; those that need no gradient are left out.
        settings: of the optimiser.
        lr_scale: factor on the recipe's rate.
        head: these are the head's: marked `head`, and no filters.
    """
    filters: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for _, parameter in parameters:
        if parameter.requires_grad:
            if settings.name == "muon" and not head and _is_filter(parameter):
                filters.append(parameter)
            else:
                (decayed if parameter.ndim > 1 or settings.decay_all else exempt).append(parameter)
    decay = settings.weight_decay
    groups = [(filters, decay, True), (decayed, decay, False), (exempt, 0.0, False)]
    return [
        {"params": params, "weight_decay": decay, "lr_scale": lr_scale, "filters": filtering, "head": head}
        for params, decay, filtering in groups
        if params
    ]


def _is_filter(parameter: nn.Parameter) -> bool:
    """Whether a parameter maps inputs to outputs: a matrix or a convolution's weight, and no table of positions."""
    return parameter.ndim in (2, 4) and len(parameter) > 1
