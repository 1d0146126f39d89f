"""Supervised classification: images with labels, cross entropy, or one decision a class."""

from __future__ import annotations

from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neocog.data.loading import Batch, Batches
from neocog.layers.fold import unfold_batch_norms
from neocog.models._classifier import Classifier
from neocog.train.recipe import Loss, Optimizer
from neocog.train.task import Task, TaskLoss, decayed_and_exempt

UNFOLD_IMAGES = 256  # enough for statistics of every channel, and a few seconds' work


class SupervisedTask(Task):
    """Trains a `Classifier` on labelled batches.

    Args:
        network: the classifier; its head has one logit a class.
        loss: what is minimised.
        class_weights: `(K,)` weights of the classes, or None for equal ones.
        only_head: train the head alone; the rest is frozen, in evaluation mode, and not differentiated.
        freeze_norms: keep batch norms in evaluation mode; their scales and shifts are still trained.
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
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss or Loss()
        self.only_head, self.freeze_norms = only_head, freeze_norms
        self.register_buffer("class_weights", class_weights, persistent=False)
        if only_head:
            head = set(network.get_submodule(network.head_name).parameters())
            for parameter in network.parameters():
                parameter.requires_grad_(parameter in head)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; what is frozen stays in evaluation mode, so that its statistics do not move."""
        super().train(mode)
        if self.only_head:
            self.network.eval()
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
        """Return the network's parameters, the head's apart where its rate differs."""
        if settings.head_lr_scale == 1.0:
            return decayed_and_exempt(self.network.named_parameters(), settings)
        head: nn.Module = self.network.get_submodule(self.network.head_name)
        in_head = set(head.parameters())
        rest = [item for item in self.network.named_parameters() if item[1] not in in_head]
        return decayed_and_exempt(rest, settings) + decayed_and_exempt(
            head.named_parameters(), settings, lr_scale=settings.head_lr_scale
        )


def classification_loss(logits: Tensor, targets: Tensor, settings: Loss, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean loss of logits `(N, K)`.

    Args:
        logits: `(N, K)` in float32.
        targets: classes `(N,)`, or shares or several labels `(N, K)` in [0, 1].
        settings: which loss, and its smoothing.
        class_weights: `(K,)`, or None.

    Label smoothing mixes the target with the uniform distribution (Szegedy et al. 2015, section 7); for binary
    cross entropy and squared hinge the two outcomes of each decision are the distribution, so a target t becomes
    t(1-s) + s/2. Squared hinge is the sum over classes of max(0, 1 - f)² for the right one and max(0, 1 + f)² for any
    other, f being the logit (Tang 2013, arXiv:1306.0239, equation 5 without its constants).
    `rubbish` adds a class of constant logit to the partition function only (LeCun et al. 1998, equation 9).
    """
    classes = logits.shape[1]
    if settings.name != "cross_entropy":
        shares = F.one_hot(targets, classes).to(logits) if targets.ndim == 1 else targets.to(logits)
        shares = shares * (1 - settings.label_smoothing) + settings.label_smoothing / 2
        if settings.name == "binary_cross_entropy":
            return F.binary_cross_entropy_with_logits(logits, shares, weight=class_weights)
        hinges = shares * F.relu(1 - logits).square() + (1 - shares) * F.relu(1 + logits).square()
        return (hinges if class_weights is None else hinges * class_weights).sum(1).mean()
    if settings.rubbish is not None:
        constant = logits.new_full((len(logits), 1), -settings.rubbish)
        partition = torch.logsumexp(torch.cat([logits, constant], 1), 1)
        shares = F.one_hot(targets, classes).to(logits) if targets.ndim == 1 else targets.to(logits)
        if class_weights is not None:
            shares = shares * class_weights
        return (shares.sum(1) * partition - (shares * logits).sum(1)).mean()
    # Not reduction="mean": with class weights torch divides by their sum over the micro-batch, and the mean over
    # micro-batches would no longer be the mean over the batch.
    summed = F.cross_entropy(
        logits, targets, weight=class_weights, label_smoothing=settings.label_smoothing, reduction="sum"
    )
    return summed / len(logits)
