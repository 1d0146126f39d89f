"""What is minimised in classification: from logits and targets to one number."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neocog.train.recipe import Loss

PRESENT, ABSENT, ABSENT_WEIGHT = 0.9, 0.1, 0.5  # m+, m- and lambda of Sabour et al. 2017, section 3


def classification_loss(logits: Tensor, targets: Tensor, settings: Loss, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean loss of logits `(N, K)` over the images.

    Args:
        logits: `(N, K)` in float32; lengths in [0, 1) for the margin loss.
        targets: classes `(N,)`, or shares or several labels `(N, K)` in [0, 1].
        settings: which loss, and its smoothing.
        class_weights: `(K,)`, or None.

    Over the classes, binary cross entropy is a mean and all others are sums, as their papers and timm have them.

    Without a threshold every loss is linear in the shares t, so mixed images need no case of their own.
    Squared hinge is the sum over classes of t max(0, 1 - f)² + (1 - t) max(0, 1 + f)², f being the logit (Tang 2013,
    arXiv:1306.0239, equation 5 without its constants); margin is that of t max(0, 0.9 - f)² + 0.5 (1 - t) max(0, f -
    0.1)² (Sabour et al. 2017, equation 4). `rubbish` adds a class of constant logit to the partition function only
    (LeCun et al. 1998, equation 9).
    """
    if settings.name == "cross_entropy" and settings.rubbish is None:
        # Not reduction="mean": with class weights torch divides by their sum over the micro-batch, and the mean over
        # micro-batches would no longer be the mean over the batch.
        return _cross_entropy(logits, targets, settings, class_weights, "sum") / len(logits)
    if settings.name == "binary_cross_entropy":
        return F.binary_cross_entropy_with_logits(logits, _shares(logits, targets, settings), weight=class_weights)
    return image_losses(logits, targets, settings, class_weights).mean()


def image_losses(logits: Tensor, targets: Tensor, settings: Loss, class_weights: Tensor | None = None) -> Tensor:
    """Return the loss of each image, `(N,)`, whose mean is `classification_loss` of the same arguments."""
    if settings.name == "cross_entropy" and settings.rubbish is None:
        return _cross_entropy(logits, targets, settings, class_weights, "none")
    shares = _shares(logits, targets, settings)
    if settings.name == "cross_entropy":
        return _with_rubbish(logits, shares, settings, class_weights)
    if settings.name == "binary_cross_entropy":
        return F.binary_cross_entropy_with_logits(logits, shares, weight=class_weights, reduction="none").mean(1)
    if settings.name == "squared_hinge":
        of_present, of_absent = F.relu(1 - logits).square(), F.relu(1 + logits).square()
    else:
        of_present = F.relu(PRESENT - logits).square()
        of_absent = ABSENT_WEIGHT * F.relu(logits - ABSENT).square()
    of_classes = shares * of_present + (1 - shares) * of_absent
    return (of_classes if class_weights is None else of_classes * class_weights).sum(1)


def _shares(logits: Tensor, targets: Tensor, settings: Loss) -> Tensor:
    """Return the target `(N, K)` of each decision, smoothed and then cut in two by the threshold.

    Smoothing spreads a share of what an image is over all classes (Szegedy et al. 2015, section 7): an image of one
    class, or a mixed one, gives each class 1/K of it. The threshold comes after it, as in the code of its authors:
    what remains of smoothing where both are on is its effect on which shares pass.
    """
    shares = F.one_hot(targets, logits.shape[1]).to(logits) if targets.ndim == 1 else targets.to(logits)
    if settings.label_smoothing:
        even = shares.mean(1, keepdim=True)
        shares = shares * (1 - settings.label_smoothing) + settings.label_smoothing * even
    if settings.threshold is not None:
        shares = (shares > settings.threshold).to(shares)
    return shares


def _cross_entropy(
    logits: Tensor, targets: Tensor, settings: Loss, class_weights: Tensor | None, reduction: str
) -> Tensor:
    smoothing = settings.label_smoothing
    return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=smoothing, reduction=reduction)


def _with_rubbish(logits: Tensor, shares: Tensor, settings: Loss, class_weights: Tensor | None) -> Tensor:
    assert settings.rubbish is not None
    constant = logits.new_full((len(logits), 1), -settings.rubbish)
    partition = torch.logsumexp(torch.cat([logits, constant], 1), 1)
    if class_weights is not None:
        shares = shares * class_weights
    return shares.sum(1) * partition - (shares * logits).sum(1)
