"""Crops that change the scale, shifts, and resizing to another size, against Pillow and NumPy."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from scipy import ndimage, stats
from torch import Tensor

from neocog.data.augment import Augmentation, augment, crop_boxes, draw
from neocog.data.crops import mirror, shift, shift_reflected
from neocog.data.keys import hash_key
from neocog.data.resampling import Interpolation, resize, resize_boxes
from neocog.errors import UsageError

COUNT = 300


def draws_of(augmentation: Augmentation, count: int = COUNT) -> Tensor:
    return draw(hash_key(0, 0, torch.arange(count)), augmentation)


def smooth(count: int, height: int, width: int) -> Tensor:
    noise = np.random.default_rng(0).normal(size=(count, 3, height, width))
    blurred = ndimage.gaussian_filter(noise, (0, 0, 2, 2))
    return torch.from_numpy(np.clip(128 + 400 * blurred, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 260), (224, 224), (100, 120)])
def test_a_scale_crop_is_pillows_resize_and_crop(height: int, width: int) -> None:
    augmentation = Augmentation(crop="scale", sides=(256, 480))
    boxes = crop_boxes(draws_of(augmentation).numpy(), height, width, augmentation, (224, 224))
    photo = Image.fromarray(smooth(1, height, width)[0].permute(1, 2, 0).numpy())
    for top, left, tall, wide in boxes[:4]:
        side = round(min(height, width) * 224 / (tall if height <= width else wide))
        assert 256 <= side <= 480
        size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
        resized = photo.resize(size, Image.Resampling.BILINEAR)
        x, y = round(left * size[0] / width), round(top * size[1] / height)
        expected = np.asarray(resized.crop((x, y, x + 224, y + 224))).astype(int)
        box = (left, top, min(left + wide, width), min(top + tall, height))
        got = np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR, box)).astype(int)
        assert np.abs(got - expected).max() <= 2  # Pillow keeps a box in float32
        assert np.abs(got - expected).mean() < 0.25  # and rounds to eight bits between its two passes


def test_the_shorter_side_of_a_scale_crop_is_uniform_and_so_is_its_place() -> None:
    augmentation = Augmentation(crop="scale", sides=(256, 264))
    boxes = crop_boxes(draws_of(augmentation, 20_000).numpy(), 1000, 1500, augmentation, (224, 224))
    sides = np.rint(1000 * 224 / boxes[:, 2]).astype(int)
    assert stats.chisquare(np.bincount(sides)[256:265]).pvalue > 1e-4
    assert set(sides) == set(range(256, 265))
    rows = np.rint(boxes[:, 0] * sides / 1000)[sides == 256]
    assert stats.chisquare(np.bincount(rows.astype(int), minlength=33)).pvalue > 1e-4


def test_a_scale_crop_is_in_proportion_to_the_input() -> None:
    augmentation = Augmentation(crop="scale", sides=(256, 256))
    boxes = crop_boxes(draws_of(augmentation).numpy(), 64, 64, augmentation, (112, 112))
    assert boxes[:, 2] == pytest.approx(64 * 112 / 128)


@pytest.mark.parametrize("size", [(224, 224), (224, 320), (320, 200), (32, 32)])
def test_scale_crops_lie_within_the_image(size: tuple[int, int]) -> None:
    augmentation = Augmentation(crop="scale", sides=(224, 512))
    heights, widths = np.random.default_rng(0).integers(1, 900, (2, COUNT))
    boxes = crop_boxes(draws_of(augmentation).numpy(), heights, widths, augmentation, size)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] > 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= heights * (1 + 1e-12)).all()
    assert (boxes[:, 1] + boxes[:, 3] <= widths * (1 + 1e-12)).all()


@pytest.mark.parametrize("crop", ["random_resized", "scale"])
def test_boxes_of_many_sizes_are_those_of_each_one(crop: str) -> None:
    augmentation = Augmentation(crop=crop, sides=(256, 512))
    columns = draws_of(augmentation).numpy()
    heights, widths = np.random.default_rng(1).integers(1, 900, (2, COUNT))
    boxes = crop_boxes(columns, heights, widths, augmentation, (64, 64))
    for place in range(COUNT):
        one = columns[place : place + 1]
        alone = crop_boxes(one, int(heights[place]), int(widths[place]), augmentation, (64, 64))
        assert np.array_equal(alone[0], boxes[place])


def test_a_scale_crop_in_memory_enlarges_a_part_of_each_image() -> None:
    augmentation = Augmentation(crop="scale", sides=(256, 512), flip=0)
    batch, columns = smooth(16, 32, 32), draws_of(augmentation, 16)
    got = augment(batch, columns, augmentation, "bilinear")
    boxes = crop_boxes(columns.numpy(), 32, 32, augmentation, (32, 32))
    assert boxes[:, 2].min() < 18
    assert boxes[:, 2].max() > 26
    for image, (top, left, tall, wide), ours in zip(batch, boxes, got, strict=True):
        box = (left, top, left + wide, top + tall)
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((32, 32), Image.Resampling.BILINEAR, box)
        assert np.abs(ours.permute(1, 2, 0).numpy().astype(int) - np.asarray(pillow).astype(int)).max() <= 2


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(24, 24), (9, 17), (32, 48), (50, 41)])
def test_whole_images_and_boxes_are_resized_to_any_size_as_by_pillow(
    interpolation: Interpolation, size: tuple[int, int]
) -> None:
    batch = torch.randint(0, 256, (6, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    filter_ = Image.Resampling[interpolation.upper()]
    boxes = np.array([[3.25, 7.5, 20.0, 33.125]] * 6)
    for got, box in (
        (resize(batch, size, interpolation), None),
        (resize_boxes(batch, boxes, interpolation, size), True),
    ):
        assert got.shape == (6, 3, *size)
        for image, ours in zip(batch, got, strict=True):
            place = (7.5, 3.25, 40.625, 23.25) if box else None
            pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], filter_, place)
            assert np.abs(ours.permute(1, 2, 0).numpy().astype(int) - np.asarray(pillow).astype(int)).max() <= 1


def test_an_image_of_the_right_size_is_not_resized() -> None:
    batch = smooth(2, 8, 9)
    assert resize(batch, (8, 9), "bilinear") is batch


@pytest.mark.parametrize("border", [0, 1, 4])
@pytest.mark.parametrize("mirrored", [None, [False] * 40, [True] * 40, [True, False, False, True] * 10])
def test_shifting_and_mirroring_equal_slicing_each_image(border: int, mirrored: list[bool] | None) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (40, 3, 7, 10), dtype=torch.uint8, generator=generator)
    places = torch.rand(40, 2, dtype=torch.float64, generator=generator)
    chosen = None if mirrored is None else torch.tensor(mirrored)
    got = shift(batch, places, border, chosen).numpy()
    for number, image in enumerate(batch.numpy()):
        padded = np.pad(image, ((0, 0), (border, border), (border, border)))
        y, x = (int(place * (2 * border + 1)) for place in places[number].tolist())
        cut = padded[:, y : y + 7, x : x + 10]
        np.testing.assert_array_equal(got[number], cut[:, :, ::-1] if mirrored and mirrored[number] else cut)


@pytest.mark.parametrize("border", [0, 1, 3, 6])
@pytest.mark.parametrize("mirrored", [None, [False] * 40, [True] * 40, [True, False, False, True] * 10])
def test_a_reflected_border_is_numpys(border: int, mirrored: list[bool] | None) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (40, 3, 7, 10), dtype=torch.uint8, generator=generator)
    before, places = batch.clone(), torch.rand(40, 2, dtype=torch.float64, generator=generator)
    most = 1 - 2**-53
    places[:4] = torch.tensor([[0, 0], [0, most], [most, 0], [most, most]], dtype=torch.float64)
    got = shift_reflected(batch, places, border, None if mirrored is None else torch.tensor(mirrored))
    assert got.is_contiguous()
    assert torch.equal(batch, before)
    for number, image in enumerate(batch.numpy()):
        padded = np.pad(image, ((0, 0), (border, border), (border, border)), mode="reflect")
        y, x = (int(place * (2 * border + 1)) for place in places[number].tolist())
        cut = padded[:, y : y + 7, x : x + 10]
        np.testing.assert_array_equal(got[number], cut[:, :, ::-1] if mirrored and mirrored[number] else cut)


@pytest.mark.parametrize(("height", "width", "channels", "count"), [(32, 32, 3, 1), (28, 28, 1, 5), (2, 9, 3, 3)])
def test_a_reflected_border_leaves_what_does_not_see_it_as_with_black(
    height: int, width: int, channels: int, count: int
) -> None:
    batch = torch.randint(1, 256, (count, channels, height, width), dtype=torch.uint8)
    places = torch.rand(count, 2, dtype=torch.float64)
    turned = torch.rand(count) < 0.5
    black, reflected = shift(batch, places, 1, turned), shift_reflected(batch, places, 1, turned)
    assert torch.equal(reflected[black > 0], black[black > 0])
    assert (reflected > 0).all()


def test_a_border_as_wide_as_the_image_cannot_be_reflected() -> None:
    batch = smooth(2, 6, 9)
    augmentation = Augmentation(crop="pad", pad=6, border="reflect")
    with pytest.raises(UsageError, match=r"6 pixels cannot be reflected from an image of 6x9.*5 pixels or fewer"):
        augment(batch, draws_of(augmentation, 2), augmentation, "bilinear")
    with pytest.raises(UsageError, match="6x9"):
        augmentation.check_size((6, 9))
    augmentation.check_size((7, 9))
    Augmentation(crop="pad", pad=6).check_size((6, 9))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_reflects_the_same() -> None:
    batch, places, turned = smooth(64, 12, 9), torch.rand(64, 2, dtype=torch.float64), torch.rand(64) < 0.5
    there = shift_reflected(batch.cuda(), places, 4, turned).cpu()
    assert torch.equal(there, shift_reflected(batch, places, 4, turned))


def test_mirroring_turns_those_chosen_in_place() -> None:
    batch = smooth(3, 5, 6)
    before = batch.clone()
    got = mirror(batch, torch.tensor([True, False, True]))
    assert torch.equal(got, torch.stack([before[0].flip(-1), before[1], before[2].flip(-1)]))
    assert got is batch


@pytest.mark.parametrize("crop", ["none", "pad", "random_resized"])
def test_varying_a_batch_leaves_it_as_it_was(crop: Literal["none", "pad", "random_resized"]) -> None:
    augmentation = Augmentation(crop=crop, brightness=0.4, contrast=0.4, saturation=0.4)
    batch = smooth(3, 40, 40)
    before = batch.clone()
    varied = augment(batch, draw(hash_key(0, 0, torch.arange(3)), augmentation), augmentation, "bilinear")
    assert not torch.equal(varied, before)
    assert torch.equal(batch, before)


@pytest.mark.parametrize("sides", [(200, 256), (300, 256)])
def test_sides_that_cannot_be_meant_are_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(ValidationError, match="sides"):
        Augmentation(crop="scale", sides=sides)
