"""MixUp and CutMix: timm's, given the same draws, and the distributions of those."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from neocog.data.keys import hash_key
from neocog.data.mixing import Mixing, draw_mix, mix

KEYS = [hash_key(3, 0, number) for number in range(1500)]
BOTH = Mixing(mixup=0.8, cutmix=1.0)


def batch(count: int = 8, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, 24, 32, generator=generator)
    return images, torch.randint(0, classes, (count,), generator=generator)


def timms(images: Tensor, targets: Tensor, key: int, smoothing: float, monkeypatch: pytest.MonkeyPatch):
    """Blend as timm does, where our draws take the place of NumPy's."""
    data = pytest.importorskip("timm.data")
    generator = np.random.RandomState([key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF])
    first = generator.random_sample(4)
    uniform, places = iter(first[:2]), iter(first[2:])
    monkeypatch.setattr(np.random, "rand", lambda: next(uniform))
    monkeypatch.setattr(np.random, "beta", generator.beta)
    monkeypatch.setattr(np.random, "randint", lambda low, high, size=None: int(low + next(places) * (high - low)))
    mixer = data.Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.9, label_smoothing=smoothing, num_classes=5)
    mixed = mixer(images.clone(), targets)
    monkeypatch.undo()
    return mixed


def test_blended_batches_are_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = batch()
    mixing = BOTH.model_copy(update={"probability": 0.9})
    kinds = set()
    for key in KEYS[:60]:
        expected_images, expected_targets = timms(images, targets, key, 0.0, monkeypatch)
        got_images, got_targets = mix(images.clone(), targets, mixing, key, 5)
        torch.testing.assert_close(got_images, expected_images, rtol=0, atol=2e-6)
        torch.testing.assert_close(got_targets, expected_targets, rtol=0, atol=1e-6)
        kept, box = draw_mix(mixing, key, 24, 32)
        kinds.add("none" if kept == 1 else "mixup" if box is None else "cutmix")
    assert kinds == {"none", "mixup", "cutmix"}


def test_label_smoothing_of_the_loss_is_timms_of_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = batch()
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    for key in KEYS[:10]:
        smoothed = timms(images, targets, key, 0.1, monkeypatch)[1]
        expected = -(smoothed * F.log_softmax(logits, 1)).sum(1).mean()
        mixed = mix(images.clone(), targets, BOTH.model_copy(update={"probability": 0.9}), key, 5)[1]
        torch.testing.assert_close(F.cross_entropy(logits, mixed, label_smoothing=0.1), expected)


@pytest.mark.parametrize(("settings", "alpha"), [({"mixup": 0.2}, 0.2), ({"mixup": 1.0}, 1.0), ({"mixup": 2.5}, 2.5)])
def test_mixups_share_is_beta_distributed(settings: dict[str, float], alpha: float) -> None:
    drawn = [draw_mix(Mixing(**settings), key, 32, 32) for key in KEYS]
    assert all(box is None for _, box in drawn)
    assert stats.kstest([kept for kept, _ in drawn], stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_cutmixs_share_is_what_the_box_leaves() -> None:
    drawn = [draw_mix(Mixing(cutmix=1.0), key, 40, 30) for key in KEYS]
    images = torch.zeros(2, 1, 40, 30)
    images[1] = 1
    for (kept, box), key in zip(drawn[:200], KEYS, strict=False):
        top, bottom, left, right = box or (0, 0, 0, 0)
        assert 0 <= top <= bottom <= 40
        assert 0 <= left <= right <= 30
        mixed, targets = mix(images.clone(), torch.tensor([0, 1]), Mixing(cutmix=1.0), key, 2)
        assert (1 - mixed[0]).mean().item() == pytest.approx(kept, abs=1e-6)
        assert targets[0].tolist() == pytest.approx([kept, 1 - kept], abs=1e-6)
        assert torch.equal(mixed[1], 1 - mixed[0])


@pytest.mark.parametrize(("probability", "switch"), [(1.0, 0.5), (0.3, 0.5), (1.0, 0.0), (1.0, 1.0), (0.7, 0.2)])
def test_kinds_come_as_often_as_asked_for(probability: float, switch: float) -> None:
    mixing = Mixing(mixup=1.0, cutmix=1.0, probability=probability, switch=switch)
    drawn = [draw_mix(mixing, key, 64, 64) for key in KEYS]
    done = [pair for pair in drawn if pair[0] != 1]
    cut = sum(box is not None for _, box in done)
    assert stats.binomtest(len(done), len(KEYS), probability).pvalue > 1e-4 or probability == 1
    assert stats.binomtest(cut, len(done), switch).pvalue > 1e-4


def test_a_batchs_blending_depends_on_its_key_alone() -> None:
    images, targets = batch()
    first, second = (mix(images.clone(), targets, BOTH, KEYS[5], 5) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    np.random.seed(0)
    torch.manual_seed(0)
    expected = np.random.rand(), torch.rand(1)
    np.random.seed(0)
    torch.manual_seed(0)
    mix(images.clone(), targets, BOTH, KEYS[6], 5)
    assert (np.random.rand(), torch.rand(1)) == expected


def test_several_labels_and_odd_batches_are_blended_too() -> None:
    images, _ = batch(5)
    labels = (torch.rand(5, 4) > 0.5).float()
    mixed, targets = mix(images.clone(), labels, Mixing(mixup=1.0), KEYS[0], 4)
    kept, _ = draw_mix(Mixing(mixup=1.0), KEYS[0], 24, 32)
    torch.testing.assert_close(targets, kept * labels + (1 - kept) * labels.flip(0))
    torch.testing.assert_close(mixed[2], images[2])


def test_where_nothing_is_blended_targets_are_shares_all_the_same() -> None:
    images, targets = batch()
    mixed, shares = mix(images.clone(), targets, Mixing(mixup=1.0, probability=0.0), KEYS[0], 5)
    assert torch.equal(mixed, images)
    assert torch.equal(shares, F.one_hot(targets, 5).float())


@pytest.mark.parametrize("wrong", [{"mixup": -1}, {"switch": 2}, {"probability": 1.1}, {"cutmix": float("nan")}])
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Mixing(**wrong)
