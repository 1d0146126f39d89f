"""`Task`: what one trains. The loop knows tasks and never a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from neocog.data.loading import Batch, Batches
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
        """
        return decayed_and_exempt(self.named_parameters(), settings)

    def prepare(self, batches: Batches) -> None:
        """Run once before the first step, and not on resume: statistics of the data, whitening, codebooks."""

    def after_step(self) -> None:
        """Run after each update of the parameters: momentum encoders, centring."""


def decayed_and_exempt(
    parameters: Iterable[tuple[str, nn.Parameter]], settings: Optimizer, *, lr_scale: float = 1.0
) -> list[dict[str, Any]]:
    """Split parameters that move into those that weight decay shrinks and those that it spares.

    Biases and the scales and shifts of normalisation have one dimension. Decaying them pulls a layer's output
    towards zero without making the function any simpler, so they are spared unless `settings.decay_all`.
    """
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for _, parameter in parameters:
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 or settings.decay_all else exempt).append(parameter)
    groups = [(decayed, settings.weight_decay), (exempt, 0.0)]
    return [{"params": params, "weight_decay": decay, "lr_scale": lr_scale} for params, decay in groups if params]
