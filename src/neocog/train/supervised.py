"""Supervised classification: images with labels, cross entropy, or one decision a class."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor, nn

from neocog.data.loading import Batch, Batches
from neocog.layers.fold import unfold_batch_norms
from neocog.models._classifier import Classifier
from neocog.train.depth import parts_by_depth
from neocog.train.losses import classification_loss
from neocog.train.recipe import Loss, Optimizer
from neocog.train.task import Task, TaskLoss, decayed_and_exempt

UNFOLD_IMAGES = 256  # enough for statistics of every channel, and a few seconds' work


def parts_held_back(parts: int, unfreeze: float, epoch: float) -> int:
    """Return how many of a network's parts, counted from the stem, do not move yet at `epoch` (a fraction counts).

    Args:
        parts: of the network, the head among them, which moves from the start.
        unfreeze: epochs from the release of one part to that of the next, above 0.
        epoch: counted from 0.
    """
    above = parts - 1
    return above - math.floor(min(epoch / unfreeze, above))  # the quotient may be infinite


class SupervisedTask(Task):
    """Trains a `Classifier` on labelled batches.

    Args:
        network: the classifier; its head has one logit a class.
        loss: what is minimised.
        class_weights: `(K,)` weights of the classes, or None for equal ones.
        only_head: train the head alone; the rest is frozen, in evaluation mode, and not differentiated.
        freeze_norms: keep batch norms in evaluation mode; their scales and shifts are still trained.
        unfreeze: epochs between the release of one part of the network and of the one before it, from the head down to
            the stem (Howard and Ruder 2018, "Universal language model fine-tuning", section 3.3); until then a part is
            in evaluation mode, and neither moved nor differentiated. 0 trains all parts from the start.
        loss_at: the loss of an epoch, counted from 0, where it is not the same in all.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        network: Classifier,
        loss: Loss | None = None,
        *,
        class_weights: Tensor | None = None,
        only_head: bool = False,
        freeze_norms: bool = False,
        unfreeze: float = 0.0,
        loss_at: Callable[[int], Loss] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss, self.loss_at = loss or Loss(), loss_at
        self.only_head, self.freeze_norms, self.unfreeze = only_head, freeze_norms, unfreeze
        self.epoch, self.frozen = -1, 0  # nothing was begun yet; how many parts are frozen, counted from the stem
        self.register_buffer("class_weights", class_weights, persistent=False)
        if only_head:
            head = set(network.get_submodule(network.head_name).parameters())
            for parameter in network.parameters():
                parameter.requires_grad_(parameter in head)
        parts = parts_by_depth(network) if unfreeze else ()
        self._frozen_modules = [part.modules for part in parts]
        self._frozen_parameters = [[p for p in part.parameters.values() if p.requires_grad] for part in parts]

    @property
    def skips_parameters(self) -> bool:
        """Whether a step may leave some parameters without a gradient."""
        return super().skips_parameters or self.unfreeze > 0

    def begin(self, epoch: float) -> None:
        """Release what `unfreeze` says by `epoch`, and take up the loss of that epoch."""
        reached = epoch + 1e-9  # a part or an epoch that is reached to within rounding is reached
        if self.loss_at is not None and int(reached) != self.epoch:
            self.loss = self.loss_at(int(reached))
        self.epoch = int(reached)
        if self.unfreeze:
            self._freeze(parts_held_back(len(self._frozen_modules), self.unfreeze, reached))

    def _freeze(self, parts: int) -> None:
        """Freeze so many parts, counted from the stem, and no more; nothing is done where it is so already.

        Nothing before the first part that moves needs a gradient, so that autograd stops there of itself.
        """
        if parts == self.frozen:
            return
        self.frozen = parts
        for number, parameters in enumerate(self._frozen_parameters):
            for parameter in parameters:
                parameter.requires_grad_(number >= parts)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; what is frozen stays in evaluation mode, so that its statistics do not move."""
        super().train(mode)
        if self.only_head:
            self.network.eval()
        for modules in self._frozen_modules[: self.frozen]:
            for module in modules:
                module.eval()
        if self.freeze_norms:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def prepare(self, batches: Batches) -> None:
        """Give batch norms their statistics where the weights came with none.

        Published weights are sometimes folded: every norm is left with its shift alone. Training such a network
        needs statistics that leave its function as it is; they are taken from the first training images.
        """
        if self.network.loaded is not None and self.network.loaded.identity_norms and not self.only_head:
            steps = islice(batches.steps(0), -(-UNFOLD_IMAGES // batches.batch_size))
            unfold_batch_norms(self.network, (batch.images for step in steps for batch in step))

    def forward(self, batch: Batch) -> TaskLoss:
        """Return the loss of `batch`, with its top-1 accuracy where each image has one label."""
        if self.only_head:
            with torch.no_grad():
                features = self.network.forward_features(batch.images)
            logits = self.network.forward_head(features)
        else:
            logits = self.network(batch.images)
        logits = logits.float()
        loss = classification_loss(logits, batch.targets, self.loss, self.class_weights)
        parts = {"loss": loss.detach()}
        if batch.targets.ndim == 1:
            parts["top1"] = (logits.detach().argmax(1) == batch.targets).float().mean()
        return TaskLoss(loss, parts)

    def param_groups(self, settings: Optimizer) -> list[dict[str, Any]]:
        """Return the network's parameters, the head's apart, and part by part where rates fall with depth.

        The head moves at `head_lr_scale` times the rate, and part number l of L, counted from the stem, at
        `layer_decay` to the power of L - l (Howard and Ruder 2018, section 3.2). Those that `unfreeze` holds back
        are among them. The last layers of auxiliary heads are marked as heads, too, and move at the rate itself.
        """
        head = self.network.get_submodule(self.network.head_name)
        outputs = [each.get_submodule(each.head_name) for each in self.network.auxiliary_heads.values()]
        apart = {parameter for module in (head, *outputs) for parameter in module.parameters()}
        if settings.layer_decay < 1:
            parts = [part.parameters for part in parts_by_depth(self.network)]
        else:
            parts = [dict(self.network.named_parameters())]
        groups: list[dict[str, Any]] = []
        for distance, part in zip(reversed(range(len(parts))), parts, strict=True):
            rest = [(name, parameter) for name, parameter in part.items() if parameter not in apart]
            groups += decayed_and_exempt(rest, settings, lr_scale=settings.layer_decay**distance)
        for module in outputs:
            groups += decayed_and_exempt(module.named_parameters(), settings, head=True)
        return groups + decayed_and_exempt(
            head.named_parameters(), settings, lr_scale=settings.head_lr_scale, head=True
        )
