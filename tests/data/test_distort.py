"""Affine distortions: where pixels go, against SciPy and torchvision, and how far."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as V

from neocog.data.augment import Augmentation, augment, draw
from neocog.data.distort import DRAWS, Affine, affine_matrices, distort
from neocog.data.keys import hash_key

EVERYTHING = Affine(rotate=20, translate=0.1, scale=0.3, squeeze=0.2, shear=0.3)
MOST = math.nextafter(1, 0)


def blobs(count: int, height: int, width: int, channels: int = 1) -> Tensor:
    """Smooth images, so that an interpolation's rounding is small."""
    noise = np.random.default_rng(0).normal(size=(count, channels, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 0, 1.5, 1.5))
    return torch.from_numpy(np.clip(128 + 300 * smooth, 0, 255).astype(np.uint8))


def at(**amounts: float) -> Tensor:
    """Draws that give every distortion its greatest positive amount."""
    order = ("rotate", "right", "down", "scale", "squeeze", "shear")
    return torch.tensor([[0.5 + amounts.get(name, 0) / 2 for name in order]], dtype=torch.float64)


def apart(ours: Tensor, theirs: object) -> float:
    return float(np.abs(ours.numpy().astype(float) - np.asarray(theirs).astype(float)).max())


@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 1), (24, 40, 3)])
def test_pixels_go_where_the_matrix_says(height, width, channels):
    images = blobs(8, height, width, channels)
    matrices = affine_matrices(torch.rand(8, DRAWS, dtype=torch.float64), EVERYTHING, height, width)
    middle = np.array([height / 2 - 0.5, width / 2 - 0.5])
    for image, matrix, got in zip(images, matrices.numpy(), distort(images, matrices), strict=True):
        back = np.linalg.inv(matrix[:, :2])[::-1, ::-1]  # SciPy counts (row, column)
        offset = middle - back @ (middle + matrix[::-1, 2])
        for channel, ours in zip(image.numpy().astype(float), got, strict=True):
            expected = ndimage.affine_transform(channel, back, offset, order=1, mode="grid-constant", prefilter=False)
            assert apart(ours, expected) <= 0.51


@pytest.mark.parametrize(
    ("affine", "draws", "theirs"),
    [
        (Affine(rotate=30), at(rotate=1), {"angle": 30}),
        (Affine(translate=0.25), at(right=1, down=-1), {"translate": [8, -8]}),
        (Affine(scale=0.5), at(scale=1), {"scale": 1.5}),
        (Affine(scale=0.5), at(scale=-1), {"scale": 1 / 1.5}),
        (Affine(rotate=30, scale=0.5, translate=0.25), at(rotate=-1, scale=1, down=1),
         {"angle": -30, "scale": 1.5, "translate": [0, 8]}),
    ],
)  # fmt: skip
def test_each_distortion_is_torchvisions(affine, draws, theirs):
    images = blobs(1, 32, 32)
    arguments = {"angle": 0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], **theirs}
    expected = V.affine(images, **arguments, interpolation=InterpolationMode.BILINEAR)
    assert apart(distort(images, affine_matrices(draws, affine, 32, 32)), expected) <= 1


def test_shear_moves_rows_sideways_and_squeeze_keeps_the_area():
    (sheared,) = affine_matrices(at(shear=1), Affine(shear=0.3), 10, 10)
    assert (sheared @ torch.tensor([0.0, 2.0, 1.0]).double()).tolist() == pytest.approx([0.6, 2.0])
    (squeezed,) = affine_matrices(at(squeeze=1), Affine(squeeze=0.25), 10, 10)
    assert squeezed.tolist() == [pytest.approx([1.25, 0, 0]), pytest.approx([0, 0.8, 0])]


def test_amounts_stay_within_the_bounds_and_reach_them():
    draws = torch.rand(5000, DRAWS, dtype=torch.float64)
    draws[0], draws[1] = 0, MOST
    moved = affine_matrices(draws, Affine(translate=0.1), 20, 40)[:, :, 2]
    assert moved.abs().amax(0).tolist() == pytest.approx([4, 2])
    factor = affine_matrices(draws, Affine(scale=0.25), 20, 20)[:, 0, 0]
    assert (factor.min().item(), factor.max().item()) == (pytest.approx(0.8), pytest.approx(1.25))
    assert factor.log().mean().item() == pytest.approx(0, abs=0.01)


def test_the_middle_of_the_draws_leaves_an_image_as_it_is():
    images = blobs(3, 28, 28)
    draws = torch.full((3, DRAWS), 0.5, dtype=torch.float64)
    assert torch.equal(distort(images, affine_matrices(draws, EVERYTHING, 28, 28)), images)


def test_what_comes_in_from_outside_is_black():
    white = torch.full((1, 1, 16, 16), 255, dtype=torch.uint8)
    (moved,) = distort(white, affine_matrices(at(right=1), Affine(translate=0.25), 16, 16))
    assert moved[0, :, :4].max() == 0
    assert moved[0, :, 4:].min() == 255


def test_a_distorted_image_depends_on_its_key_alone():
    augmentation = Augmentation(crop="pad", flip=0.5, affine=EVERYTHING)
    images, keys = blobs(8, 28, 28), hash_key(1, 2, torch.arange(8))
    together = augment(images, draw(keys, augmentation), augmentation, "bilinear")
    for place in range(8):
        alone = augment(
            images[place : place + 1], draw(keys[place : place + 1], augmentation), augmentation, "bilinear"
        )
        assert torch.equal(alone[0], together[place])


def test_switching_distortions_on_leaves_crops_and_flips_as_they_are():
    keys = hash_key(0, 0, torch.arange(64))
    plain = Augmentation(crop="random_resized")
    with_affine = plain.model_copy(update={"affine": EVERYTHING})
    assert torch.equal(draw(keys, with_affine)[:, :-DRAWS], draw(keys, plain))


@pytest.mark.parametrize("wrong", [{"rotate": -1}, {"rotate": 200}, {"translate": 1}, {"scale": -0.1}, {"turn": 3}])
def test_amounts_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(ValidationError):
        Affine(**wrong)
