"""Hue: torchvision's, drawn for each image from its own key, and nothing else drawn otherwise because of it."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from neocog.data.augment import Affine, Augmentation, augment, draw
from neocog.data.hue import turn_hue
from neocog.data.keys import hash_key, uniform

COMBINATIONS = [
    {"crop": "none", "flip": 0},
    {"crop": "pad"},
    {"crop": "random_resized", "saturation": 0.4},
    {"crop": "scale", "policy": "randaugment"},
    {"crop": "pad", "policy": "trivialaugment"},
    {"crop": "random_resized", "policy": "autoaugment", "brightness": 0.2},
    {"crop": "pad", "affine": Affine(rotate=10)},
]


def images(count: int, height: int = 32, width: int = 32, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def keys_of(count: int, epoch: int = 0) -> Tensor:
    return hash_key(0, epoch, torch.arange(count))


@pytest.mark.parametrize(("count", "height", "width"), [(64, 32, 32), (3, 280, 320), (1, 1, 1)])
def test_hues_are_torchvisions_within_a_level(count: int, height: int, width: int) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    batch = images(count, height, width)
    batch[:, :, 0] = batch[:, :1, 0]  # a row of grey, whose hue is undefined
    turns = torch.linspace(-0.5, 0.5, count, dtype=torch.float64)
    each = zip(batch, turns.tolist(), strict=True)
    theirs = torch.stack([functional.adjust_hue(image, turn) for image, turn in each])
    ours = turn_hue(batch, turns)
    assert (ours.int() - theirs.int()).abs().max() <= 1
    assert torch.equal(ours[:, :, 0], batch[:, :, 0])
    if count > 1:
        assert (ours != batch).float().mean() > 0.5


@pytest.mark.parametrize("turn", [-0.5, -1 / 3, -0.1, 0.0, 0.25, 1 / 3, 0.5])
def test_every_colour_turns_as_the_standard_librarys_hexagon_does(turn: float) -> None:
    levels = torch.tensor([0, 1, 100, 254, 255], dtype=torch.uint8)
    colours = torch.cartesian_prod(levels, levels, levels)
    got = turn_hue(colours.T.reshape(1, 3, 5, 25), torch.tensor([turn])).view(3, -1).T
    for before, after in zip(colours.tolist(), got.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        # float32 may round what should be a half to the other side.
        assert np.abs(np.array(after) - expected).max() <= 0.5 + 1e-3, before


def test_a_grey_image_has_no_hue() -> None:
    batch = images(4, channels=1)
    assert torch.equal(turn_hue(batch, torch.full((4,), 0.3)), batch)


def test_pieces_that_fit_the_cache_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, turns = images(20), torch.linspace(-0.5, 0.5, 20)
    expected = turn_hue(batch, turns)
    for size in (7, 20, 100):
        monkeypatch.setattr("neocog.data.hue.in_cache", lambda images, size=size: size)
        assert torch.equal(turn_hue(batch, turns), expected)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_without_hue_the_draws_are_the_keys_first_numbers(combination: dict[str, object]) -> None:
    """So they were before there was a hue, and so the images of every recipe without one are those of before."""
    keys = keys_of(50)
    draws = draw(keys, Augmentation(**combination))
    assert torch.equal(draws, uniform(keys, draws.shape[1]))


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_hue_comes_last_and_changes_no_other_draw(combination: dict[str, object]) -> None:
    without, with_hue = Augmentation(**combination), Augmentation(**combination, hue=0.3)
    keys, batch = keys_of(24), images(24)
    plain, draws = draw(keys, without), draw(keys, with_hue)
    assert torch.equal(draws[:, :-1], plain)
    varied = augment(batch, plain, without, "bilinear")
    turned = augment(batch, draws, with_hue, "bilinear")
    assert torch.equal(turned, turn_hue(varied, 0.3 * (2 * draws[:, -1] - 1)))
    assert not torch.equal(turned, varied)


def test_the_turn_is_uniform_independent_of_the_rest_and_the_same_in_every_combination() -> None:
    columns = [draw(keys_of(4000), Augmentation(**each, hue=0.1)) for each in COMBINATIONS]
    assert all(torch.equal(draws[:, -1], columns[0][:, -1]) for draws in columns)
    shares = columns[0].numpy()
    assert stats.kstest(shares[:, -1], "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(shares.T)[-1, :-1]).max() < 0.06


def test_an_images_hue_depends_on_its_key_alone() -> None:
    augmentation = Augmentation(crop="none", flip=0, hue=0.5)
    batch, draws = images(16), draw(keys_of(16), augmentation)
    together = augment(batch, draws, augmentation, "bilinear")
    for place in range(16):
        alone = augment(batch[place : place + 1], draws[place : place + 1], augmentation, "bilinear")
        assert torch.equal(alone[0], together[place])
    assert not torch.equal(together, augment(batch, draw(keys_of(16, epoch=1), augmentation), augmentation, "bilinear"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_turns_alike() -> None:
    batch, turns = images(64), torch.linspace(-0.5, 0.5, 64)
    assert (turn_hue(batch.cuda(), turns).cpu().int() - turn_hue(batch, turns).int()).abs().max() <= 1
