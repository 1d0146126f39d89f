"""Supervised classification: images with labels, cross entropy, or one decision a class."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor, nn

from neocog.data.loading import Batch, Batches
from neocog.errors import UsageError
from neocog.layers.fold import unfold_batch_norms
from neocog.layers.identity import begin_as_identity, can_be_identity
from neocog.models._classifier import Classifier
from neocog.train.depth import parts_by_depth
from neocog.train.focus import FocusedOrder
from neocog.train.losses import classification_loss, image_losses
from neocog.train.recipe import Loss, Optimizer
from neocog.train.task import Task, TaskLoss, decayed_and_exempt
from neocog.train.whitening import first_images, freeze_whitened, whiten

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


def stem_that_moves(network: Classifier) -> list[nn.Parameter]:
    """Return the parameters of a network's stem, its first convolution, that are trained.

    Raises:
        UsageError: there are none, or they are the head's.
    """
    head = set(network.get_submodule(network.head_name).parameters())
    stem = [p for p in network.get_submodule(network.stem_name).parameters() if p.requires_grad and p not in head]
    if not stem:
        raise UsageError(
            f"nothing moves in the stem of {network.name or type(network).__name__}, {network.stem_name}, that "
            "stem_epochs could stop: set it to none"
        )
    return stem


def begin_as_identities(network: Classifier) -> None:
    """Let every convolution of a network but its stem, its heads and its gates begin as the identity, where it can."""
    apart = {network.get_submodule(name) for name in (network.stem_name, network.head_name)}
    for head in network.auxiliary_heads.values():
        apart |= set(head.modules())
    for name, module in network.named_modules():
        if module in apart or name.rpartition(".")[2] in network.gate_names:
            continue
        if isinstance(module, nn.Conv2d) and can_be_identity(module):
            begin_as_identity(module)


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
        whiten: images of whose patches the filters of the network's stem are made before the first step; they are not
            trained, and the stem's bias is. 0 leaves the stem as any other layer.
        identity: let every convolution before the head but the stem begin as the identity, where it can.
        stem_epochs: epochs after which the stem moves no more, above 0; None for never.

    Weights that the network was loaded with are neither whitened nor made the identity.

    Raises:
        UsageError: a network whose stem cannot be whitened, or of whose stem nothing would move.

    Attributes:
        focus: the order of the batches, where it goes by the losses of images: it is told them. None for any other.
    """

    class_weights: Tensor | None
    focus: FocusedOrder | None

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
        whiten: int = 0,
        identity: bool = False,
        stem_epochs: float | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss, self.loss_at = loss or Loss(), loss_at
        self.only_head, self.freeze_norms, self.unfreeze = only_head, freeze_norms, unfreeze
        self.epoch, self.frozen = -1, 0  # nothing was begun yet; how many parts are frozen, counted from the stem
        self.focus = None
        self.register_buffer("class_weights", class_weights, persistent=False)
        if only_head:
            head = set(network.get_submodule(network.head_name).parameters())
            for parameter in network.parameters():
                parameter.requires_grad_(parameter in head)
        self.whiten, self.identity, self.stem_epochs = whiten, identity, stem_epochs
        if whiten and network.loaded is None:  # loaded weights are left as they are, and move
            freeze_whitened(network)
        self._stem = [] if stem_epochs is None else stem_that_moves(network)
        parts = parts_by_depth(network) if unfreeze else ()
        self._frozen_modules = [part.modules for part in parts]
        self._frozen_parameters = [[p for p in part.parameters.values() if p.requires_grad] for part in parts]

    @property
    def skips_parameters(self) -> bool:
        """Whether a step may leave some parameters without a gradient."""
        return super().skips_parameters or self.unfreeze > 0 or self.stem_epochs is not None

    def begin(self, epoch: float) -> None:
        """Release what `unfreeze` says by `epoch`, hold what `stem_epochs` says, and take up the loss of that epoch."""
        reached = epoch + 1e-9  # a part or an epoch that is reached to within rounding is reached
        if self.loss_at is not None and int(reached) != self.epoch:
            self.loss = self.loss_at(int(reached))
        self.epoch = int(reached)
        if self.focus is not None:
            self.focus.begin()
        if self.unfreeze:
            self._freeze(parts_held_back(len(self._frozen_modules), self.unfreeze, reached))
        for parameter in self._stem:  # nothing before it needs a gradient, so that the backward pass ends behind it
            parameter.requires_grad_(self.stem_epochs is None or reached < self.stem_epochs)

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
        """Let layers of a fresh network begin as they shall; give batch norms their statistics where weights had none.

        Published weights are sometimes folded: every norm is left with its shift alone. Training such a network
        needs statistics that leave its function as it is; they are taken from the first training images.
        """
        if self.network.loaded is None:
            if self.identity:
                begin_as_identities(self.network)
            if self.whiten:
                stem = self.network.get_submodule(self.network.stem_name)
                assert isinstance(stem, nn.Conv2d)
                whiten(stem, first_images(batches, self.whiten))
        elif self.network.loaded.identity_norms and not self.only_head:
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
        if self.focus is not None:
            of_images = image_losses(logits.detach(), batch.targets, self.loss, self.class_weights)
            self.focus.note(batch.indices, of_images)
        parts = {"loss": loss.detach()}
        if batch.targets.ndim == 1:
            parts["top1"] = (logits.detach().argmax(1) == batch.targets).float().mean()
        return TaskLoss(loss, parts)

    def after_step(self) -> None:
        """Take up the losses of the images that the step has seen, where the order of images goes by them."""
        if self.focus is not None:
            self.focus.after_step()

    def param_groups(self, settings: Optimizer) -> list[dict[str, Any]]:
        """Return the network's parameters, the head's apart, and part by part where rates fall with depth.

        The head moves at `head_lr_scale` times the rate, and part number l of L, counted from the stem, at
        `layer_decay` to the power of L - l (Howard and Ruder 2018, section 3.2). Those that `unfreeze` holds back
        are among them. The last layers of auxiliary heads are marked as heads, too, and move at the rate itself. With
        `stem_epochs` the stem is a group of its own, whose rate falls to 0 by then.
        """
        head = self.network.get_submodule(self.network.head_name)
        outputs = [each.get_submodule(each.head_name) for each in self.network.auxiliary_heads.values()]
        apart = {parameter for module in (head, *outputs) for parameter in module.parameters()}
        stem = set(self._stem)
        if settings.layer_decay < 1:
            parts = [part.parameters for part in parts_by_depth(self.network)]
        else:
            parts = [dict(self.network.named_parameters())]
        groups: list[dict[str, Any]] = []
        for distance, part in zip(reversed(range(len(parts))), parts, strict=True):
            scale = settings.layer_decay**distance
            rest = [(name, parameter) for name, parameter in part.items() if parameter not in apart]
            early = [(name, parameter) for name, parameter in rest if parameter in stem]
            rest = [(name, parameter) for name, parameter in rest if parameter not in stem]
            for group in decayed_and_exempt(early, settings, lr_scale=scale):
                groups.append({**group, "until": self.stem_epochs})
            groups += decayed_and_exempt(rest, settings, lr_scale=scale)
        for module in outputs:
            groups += decayed_and_exempt(module.named_parameters(), settings, head=True)
        return groups + decayed_and_exempt(
            head.named_parameters(), settings, lr_scale=settings.head_lr_scale, head=True
        )
