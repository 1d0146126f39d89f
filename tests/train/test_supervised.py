from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from neocog.train.recipe import Loss
from neocog.train.supervised import classification_loss

LOGITS = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(0, 5, (16,), generator=torch.Generator().manual_seed(1))


def test_smoothed_cross_entropy_equals_timm_s() -> None:
    from timm.loss import LabelSmoothingCrossEntropy

    ours = classification_loss(LOGITS, TARGETS, Loss(label_smoothing=0.1))
    assert ours.item() == pytest.approx(LabelSmoothingCrossEntropy(0.1)(LOGITS, TARGETS).item(), rel=1e-6)


def test_soft_targets_equal_timm_s() -> None:
    from timm.loss import SoftTargetCrossEntropy

    soft = torch.softmax(torch.randn(16, 5, generator=torch.Generator().manual_seed(2)), 1)
    ours = classification_loss(LOGITS, soft, Loss())
    assert ours.item() == pytest.approx(SoftTargetCrossEntropy()(LOGITS, soft).item(), rel=1e-6)


def test_binary_cross_entropy_of_classes_equals_timm_s() -> None:
    from timm.loss import BinaryCrossEntropy

    ours = classification_loss(LOGITS, TARGETS, Loss(name="binary_cross_entropy"))
    assert ours.item() == pytest.approx(BinaryCrossEntropy(smoothing=0.0)(LOGITS, TARGETS).item(), rel=1e-6)


def test_several_labels_are_a_decision_each() -> None:
    labels = (torch.rand(16, 5, generator=torch.Generator().manual_seed(3)) > 0.5).float()
    ours = classification_loss(LOGITS, labels, Loss(name="binary_cross_entropy"))
    by_hand = -(labels * F.logsigmoid(LOGITS) + (1 - labels) * F.logsigmoid(-LOGITS)).mean()
    assert ours.item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_the_1998_criterion_is_equation_9() -> None:
    penalties, rubbish = -LOGITS.double(), 0.7
    terms = [
        penalties[i, target] + torch.log(torch.exp(torch.tensor(-rubbish)) + torch.exp(-penalties[i]).sum())
        for i, target in enumerate(TARGETS.tolist())
    ]
    ours = classification_loss(LOGITS, TARGETS, Loss(rubbish=rubbish))
    assert ours.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-6)


def test_class_weights_of_mean_one_leave_a_balanced_batch_unchanged_in_scale() -> None:
    targets = torch.arange(5).repeat(4)[:16]
    weighted = classification_loss(LOGITS, targets, Loss(), torch.ones(5))
    assert weighted.item() == pytest.approx(classification_loss(LOGITS, targets, Loss()).item())
