"""Principal colours: the published numbers, and what they do to an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from neocog.data.augment import Augmentation, finish
from neocog.data.color import COMPONENTS, VARIANCES, jitter, lighting, one_by_one
from neocog.data.keys import hash_key
from neocog.data.preprocess import Preprocessing, normalise


def test_the_components_are_orthonormal_and_the_first_is_grey() -> None:
    # They were published to four digits; one wrong digit among them would show.
    components = np.array(COMPONENTS)
    np.testing.assert_allclose(components @ components.T, np.eye(3), atol=2e-4)
    assert np.abs(components[0]).max() / np.abs(components[0]).min() < 1.05
    assert VARIANCES[0] > VARIANCES[1] > VARIANCES[2]


def test_the_components_explain_real_colours(shared_data) -> None:
    from neocog.data.sources import load_split

    split = load_split("cifar10", data_dir=shared_data / "cifar10", split="train")
    pixels = np.concatenate([np.asarray(split.image(index)).reshape(-1, 3) / 255 for index in range(0, 50_000, 500)])
    variances, directions = np.linalg.eigh(np.cov(pixels.T))
    assert abs(directions[:, -1] @ COMPONENTS[0]) > 0.99
    np.testing.assert_allclose(variances[::-1][0], VARIANCES[0], rtol=0.3)


def test_lighting_adds_multiples_of_the_components_before_normalisation() -> None:
    look = Preprocessing(size=(8, 8), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    keys = hash_key(0, 0, torch.arange(5))
    lit = finish(normalise(images, look), keys, Augmentation(lighting=0.1), look)
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (look.mean, look.std))
    for image, plain in zip(lit.numpy(), images.numpy(), strict=True):
        added = (image * std + mean - plain / 255).reshape(3, -1)
        np.testing.assert_allclose(added, added[:, :1].repeat(64, 1), atol=1e-6)  # one colour for all pixels
        shares = np.array(COMPONENTS) @ added[:, 0] / VARIANCES
        # The formula of the paper, section 4.1: [p1 p2 p3] [a1 l1, a2 l2, a3 l3].
        again = np.array(COMPONENTS).T @ (shares * VARIANCES)
        np.testing.assert_allclose(again, added[:, 0], atol=2e-4)
        assert np.abs(shares).max() < 0.7


def test_the_shares_are_normal_with_the_deviation_asked_for() -> None:
    look = Preprocessing(size=(1, 1), mean=(0.0,) * 3, std=(1.0,) * 3)
    lit = finish(torch.zeros(8000, 3, 1, 1), hash_key(0, 0, torch.arange(8000)), Augmentation(lighting=0.1), look)
    shares = lit.view(-1, 3).numpy() @ np.array(COMPONENTS).T / VARIANCES
    for column in shares.T:
        assert stats.kstest(column / 0.1, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(shares.T) - np.eye(3)).max() < 0.05
    assert lighting(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def test_a_grey_image_is_lit_evenly() -> None:
    look = Preprocessing(size=(2, 2), mean=(0.5,), std=(0.5,), channels=1)
    lit = finish(torch.zeros(4, 1, 2, 2), hash_key(0, 0, torch.arange(4)), Augmentation(lighting=0.1), look)
    assert lit.shape == (4, 1, 2, 2)
    assert (lit == lit[:, :, :1, :1]).all()
    assert lit.abs().max() > 0


@pytest.mark.parametrize("size", [8, 9, 100])
def test_pieces_that_fit_the_cache_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
    factors = [torch.linspace(0.5, 1.5, 20) for _ in range(3)]
    expected = jitter(images, *factors)
    monkeypatch.setattr("neocog.data.color.in_cache", lambda images: size)
    assert torch.equal(jitter(images, *factors), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_are_changed_in_place_and_to_the_ends_of_the_scale(channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    images = torch.randint(0, 256, (27, channels, 224, 224), generator=generator, dtype=torch.uint8)
    assert one_by_one(images)
    ends = torch.cartesian_prod(*[torch.tensor([0.0, 1.0, 2.0])] * 3)
    luma = torch.tensor([0.299, 0.587, 0.114] if channels == 3 else [1.0], dtype=torch.float64).view(-1, 1, 1)
    expected = []
    for image, (light, sharp, full) in zip(images.double(), ends.tolist(), strict=True):
        lit = (light * image).clamp(0, 255)
        mean = (lit * luma).sum(0).mean()
        sharpened = (mean + sharp * (lit - mean)).clamp(0, 255)
        grey = (sharpened * luma).sum(0, keepdim=True)
        expected.append((grey + full * (sharpened - grey)).clamp(0, 255))
    copy = images.clone()
    changed = jitter(images, *ends.unbind(1))
    assert torch.equal(images, copy)
    assert (changed - torch.stack(expected)).abs().max() < 0.51
    assert jitter(images, *ends.unbind(1), out=images) is images
    assert torch.equal(images, changed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("off", [None, 0, 1, 2])
def test_photographs_are_changed_as_torchvision_changes_them(channels: int, off: int | None) -> None:
    from torchvision.transforms.v2 import functional

    changes = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    generator = torch.Generator().manual_seed(channels)
    images = torch.randint(0, 256, (6, channels, 280, 320), generator=generator, dtype=torch.uint8)
    assert one_by_one(images)
    factors = [None if kind == off else 0.5 + torch.rand(6, generator=generator) for kind in range(3)]
    expected = images.to(torch.float32) / 255
    for change, column in zip(changes, factors, strict=True):
        if column is not None:
            each = zip(expected, column.tolist(), strict=True)
            expected = torch.stack([change(image, factor) for image, factor in each])
    # torchvision's grey is 0.2989 red, 0.587 green, 0.114 blue, which sum to 0.9999.
    assert (jitter(images, *factors) - 255 * expected).abs().max() < 0.6
