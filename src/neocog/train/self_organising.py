"""Networks that organise themselves: learning without gradients or labels first, then a trained read-out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from neocog.data.loading import Batches
from neocog.errors import UsageError
from neocog.models._classifier import Classifier
from neocog.train.recipe import Loss
from neocog.train.supervised import SupervisedTask


@runtime_checkable
class SelfOrganising(Protocol):
    """What a network has that learns by being shown images, such as the Neocognitron."""

    def self_organise(self, images: Tensor) -> None:
        """Learn from images `(N, C, H, W)`, shown in this order."""
        ...


class SelfOrganisingTask(SupervisedTask):
    """Shows a network images before the first step; the steps then train its head alone.

    Args:
        network: a classifier with a head to train.
        loss: what the head minimises.
        images: how many the network is shown: the first ones of the first epoch, as training varies them; of several
            processes the main one's, whose network the others get.
        class_weights: `(K,)` weights of the classes, or None for equal ones.
        loss_at: the loss of an epoch, where it is not the same in all.

    Raises:
        UsageError: a network that does not organise itself, or without a head to train.
    """

    def __init__(
        self,
        network: Classifier,
        loss: Loss | None = None,
        *,
        images: int,
        class_weights: Tensor | None = None,
        loss_at: Callable[[int], Loss] | None = None,
    ) -> None:
        check_self_organising(network)
        super().__init__(network, loss, class_weights=class_weights, only_head=True, loss_at=loss_at)
        self.images = images

    def prepare(self, batches: Batches) -> None:
        """Let the network organise itself."""
        assert isinstance(self.network, SelfOrganising)
        shown: list[Tensor] = []
        for step in batches.steps(0):
            shown += [batch.images for batch in step]
            if sum(map(len, shown)) >= self.images:
                break
        self.network.self_organise(torch.cat(shown)[: self.images].contiguous())


def check_self_organising(network: Classifier) -> None:
    """Raise `UsageError` for a network that cannot be trained so."""
    if not isinstance(network, SelfOrganising):
        raise UsageError(f"{network.name} does not organise itself; organise=0 trains it as any other")
    if not any(True for _ in network.get_submodule(network.head_name).parameters()):
        raise UsageError(f"{network.name} has no head to train; --set edits.readout=all gives it a linear one")
