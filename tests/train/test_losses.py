"""Losses and their gradients against timm's, torch's and the papers' equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from neocog.train.losses import classification_loss, image_losses
from neocog.train.recipe import Loss

CLASSES = 5
LOGITS = torch.randn(16, CLASSES, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(0, CLASSES, (16,), generator=torch.Generator().manual_seed(1))
# Images in pairs, as MixUp and CutMix make them: image i keeps a share of itself, and has the rest of image N-1-i.
KEPT = torch.linspace(0.01, 0.97, 16)[:, None]
MIXED = KEPT * F.one_hot(TARGETS, CLASSES) + (1 - KEPT) * F.one_hot(TARGETS.flip(0), CLASSES)
LENGTHS = torch.rand(16, CLASSES, generator=torch.Generator().manual_seed(4))


def assert_same(settings: Loss, targets: Tensor, theirs: torch.nn.Module, their_targets: Tensor | None = None) -> None:
    """Compare values and gradients."""
    ours, other = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    loss = classification_loss(ours, targets, settings)
    expected = theirs(other, targets if their_targets is None else their_targets)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(ours.grad, other.grad, rtol=1e-5, atol=1e-7)


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    """Return the targets that timm's Mixup hands to a loss: it smooths each image before it mixes them."""
    from timm.data.mixup import one_hot

    off = smoothing / CLASSES
    one = [one_hot(t, CLASSES, on_value=1 - smoothing + off, off_value=off) for t in (targets, targets.flip(0))]
    return KEPT * one[0] + (1 - KEPT) * one[1]


def test_smoothed_cross_entropy_equals_timm_s() -> None:
    from timm.loss import LabelSmoothingCrossEntropy

    assert_same(Loss(label_smoothing=0.1), TARGETS, LabelSmoothingCrossEntropy(0.1))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_mixed_images_equals_timm_s(smoothing: float) -> None:
    from timm.loss import SoftTargetCrossEntropy

    assert_same(Loss(label_smoothing=smoothing), MIXED, SoftTargetCrossEntropy(), smoothed(TARGETS, smoothing))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.2])
def test_binary_cross_entropy_of_classes_equals_timm_s(smoothing: float, threshold: float | None) -> None:
    """The mean over classes, as timm has it by default."""
    from timm.loss import BinaryCrossEntropy

    settings = Loss(name="binary_cross_entropy", label_smoothing=smoothing, threshold=threshold)
    assert_same(settings, TARGETS, BinaryCrossEntropy(smoothing, threshold))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.2, 0.5])
def test_binary_cross_entropy_of_mixed_images_equals_timm_s(smoothing: float, threshold: float | None) -> None:
    from timm.loss import BinaryCrossEntropy

    settings = Loss(name="binary_cross_entropy", label_smoothing=smoothing, threshold=threshold)
    assert_same(settings, MIXED, BinaryCrossEntropy(0.0, threshold), smoothed(TARGETS, smoothing))


def test_several_labels_are_a_decision_each() -> None:
    labels = (torch.rand(16, CLASSES, generator=torch.Generator().manual_seed(3)) > 0.5).float()
    ours = classification_loss(LOGITS, labels, Loss(name="binary_cross_entropy"))
    by_hand = -(labels * F.logsigmoid(LOGITS) + (1 - labels) * F.logsigmoid(-LOGITS)).mean()
    assert ours.item() == pytest.approx(by_hand.item(), rel=1e-6)


def equation_4(length: float, share: float) -> tuple[float, float]:
    """Sabour et al. 2017, equation 4, and its derivative by the length, for one capsule."""
    present, absent = max(0.0, 0.9 - length), max(0.0, length - 0.1)
    return share * present**2 + 0.5 * (1 - share) * absent**2, -2 * share * present + (1 - share) * absent


@pytest.mark.parametrize("targets", [TARGETS, MIXED], ids=["classes", "mixed"])
def test_margin_is_equation_4_summed_over_capsules(targets: Tensor) -> None:
    lengths = LENGTHS.clone().requires_grad_()
    loss = classification_loss(lengths, targets, Loss(name="margin"))
    loss.backward()
    shares = MIXED if targets.ndim == 2 else F.one_hot(TARGETS, CLASSES)
    by_hand = torch.tensor(
        [
            [equation_4(length, share) for length, share in zip(row, of_classes, strict=True)]
            for row, of_classes in zip(LENGTHS.tolist(), shares.tolist(), strict=True)
        ]
    )
    assert loss.item() == pytest.approx(by_hand[..., 0].sum(1).mean().item(), rel=1e-5)
    torch.testing.assert_close(lengths.grad, by_hand[..., 1] / 16, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "squared_hinge", "margin", "cross_entropy"])
def test_a_mixed_image_costs_what_its_parts_cost_in_their_shares(name: str) -> None:
    """Every loss is linear in the target: mixing targets or losses is the same (Zhang et al. 2017, section 2)."""
    settings = Loss(name=name, label_smoothing=0.1)
    for row in range(16):
        mixed, first, second = (
            classification_loss(LENGTHS[row : row + 1], targets, settings)
            for targets in (MIXED[row : row + 1], TARGETS[row : row + 1], TARGETS.flip(0)[row : row + 1])
        )
        torch.testing.assert_close(mixed, KEPT[row, 0] * first + (1 - KEPT[row, 0]) * second, rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize("name", ["binary_cross_entropy", "squared_hinge", "margin"])
def test_class_weights_are_factors_on_the_decisions(name: str) -> None:
    weights = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0])
    found = classification_loss(LENGTHS, TARGETS, Loss(name=name), weights)
    alone = [
        classification_loss(LENGTHS, TARGETS, Loss(name=name), F.one_hot(torch.tensor(k), CLASSES).float())
        for k in range(CLASSES)
    ]
    torch.testing.assert_close(found, (torch.stack(alone) * weights).sum())


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("weights", [None, torch.linspace(0.5, 1.5, CLASSES)])
@pytest.mark.parametrize(
    "settings",
    [
        Loss(),
        Loss(label_smoothing=0.2),
        Loss(rubbish=1.0),
        Loss(name="binary_cross_entropy", threshold=0.2),
        Loss(name="squared_hinge", label_smoothing=0.1),
        Loss(name="margin"),
    ],
    ids=lambda loss: f"{loss.name}-{loss.label_smoothing}",
)
def test_the_losses_of_images_are_those_that_each_would_have_alone(
    settings: Loss, weights: Tensor | None, mixed: bool
) -> None:
    targets = MIXED if mixed else TARGETS
    found = image_losses(LENGTHS, targets, settings, weights)
    alone = [classification_loss(LENGTHS[i : i + 1], targets[i : i + 1], settings, weights) for i in range(16)]
    torch.testing.assert_close(found, torch.stack(alone))
    torch.testing.assert_close(found.mean(), classification_loss(LENGTHS, targets, settings, weights))
    assert bool((found >= 0).all())
