"""Augmentation: the distributions it promises, and the batched way against one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from neocog.data.augment import (
    Affine,
    Augmentation,
    Interpolation,
    augment,
    crop_boxes,
    draw,
    draw_in_epoch,
    resize_boxes,
    vary_cropped,
)
from neocog.data.keys import hash_key

NOTHING = Augmentation(crop="none", flip=0)


def images(count: int, height: int = 32, width: int = 32, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def draws_of(augmentation: Augmentation, count: int, epoch: int = 0) -> Tensor:
    return draw(hash_key(0, epoch, torch.arange(count)), augmentation)


def varied(batch: Tensor, augmentation: Augmentation, epoch: int = 0) -> Tensor:
    return augment(batch, draws_of(augmentation, len(batch), epoch), augmentation, "bilinear")


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (0.5, 0.1)},
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 1.5)},
        {"ratio": (2.0, 1.0)},
        {"ratio": (0.0, 1.0)},
        {"flip": 1.5},
        {"pad": -1},
        {"pad": 257},
        {"policy_ops": 0},
        {"policy_ops": 17},
        {"crop": "five"},
        {"rotate": 10},
        {"brightness": -0.1},
        {"hue": -0.1},
        {"hue": 0.51},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**wrong)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Augmentation().flip = 0.1


def test_nothing_switched_on_leaves_the_images_as_they_are() -> None:
    batch = images(4)
    assert torch.equal(varied(batch, NOTHING), batch)


def test_an_images_augmentation_depends_on_its_key_alone() -> None:
    augmentation = Augmentation(crop="pad", brightness=0.4, contrast=0.4, saturation=0.4)
    batch, keys = images(16), hash_key(3, 5, torch.arange(16))
    together = augment(batch, draw(keys, augmentation), augmentation, "bilinear")
    for place in range(16):
        alone = augment(batch[place : place + 1], draw(keys[place : place + 1], augmentation), augmentation, "bilinear")
        assert torch.equal(alone[0], together[place])
    assert not torch.equal(varied(batch, augmentation, epoch=1), varied(batch, augmentation, epoch=2))


@pytest.mark.parametrize(("height", "width", "channels", "border"), [(32, 32, 3, 4), (28, 28, 1, 2), (9, 14, 3, 5)])
def test_pad_crop_and_flip_equal_slicing_each_image(height: int, width: int, channels: int, border: int) -> None:
    augmentation = Augmentation(crop="pad", pad=border, flip=0.5)
    batch = images(64, height, width, channels)
    draws = draws_of(augmentation, 64)
    result = augment(batch, draws, augmentation, "bilinear").numpy()
    for image, (flip, top, left, *_), got in zip(batch.numpy(), draws.tolist(), result, strict=True):
        padded = np.pad(image, ((0, 0), (border, border), (border, border)))
        y, x = int(top * (2 * border + 1)), int(left * (2 * border + 1))
        expected = padded[:, y : y + height, x : x + width]
        np.testing.assert_array_equal(got, expected[:, :, ::-1] if flip < 0.5 else expected)


def test_pad_crop_shifts_each_way_equally_often() -> None:
    batch = torch.zeros(20_000, 1, 9, 9, dtype=torch.uint8)
    batch[:, :, 4, 4] = 255
    shifted = varied(batch, Augmentation(crop="pad", pad=2, flip=0))
    counts = shifted.ne(0).sum((0, 1)).numpy()
    assert counts[2:7, 2:7].sum() == 20_000
    assert stats.chisquare(counts[2:7, 2:7].flatten()).pvalue > 1e-4


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_flips_come_as_often_as_asked_for(probability: float) -> None:
    batch = torch.zeros(10_000, 1, 1, 2, dtype=torch.uint8)
    batch[..., 0] = 1
    flipped = int(varied(batch, Augmentation(crop="none", flip=probability))[..., 1].sum())
    assert stats.binomtest(flipped, 10_000, probability).pvalue > 1e-4


@pytest.mark.parametrize("share", [0.5, 0.3, 1.0])
@pytest.mark.parametrize("copies", [0, torch.arange(1000) % 3])
def test_mirroring_in_turn_goes_by_the_draw_of_epoch_0(share: float, copies: int | Tensor) -> None:
    plain = Augmentation(crop="none", flip=share)
    in_turn = plain.model_copy(update={"alternate": True})
    indices = torch.arange(1000)
    first = draw(hash_key(7, 0, indices, copies), plain)[:, 0].tolist()
    for epoch in range(5):
        draws = draw_in_epoch((7, epoch), indices, copies, in_turn)
        expected = [(each + 0.5 * (epoch % 2)) % 1 < share for each in first]
        assert (draws[:, 0] < share).tolist() == expected
        as_ever = draw_in_epoch((7, epoch), indices, copies, plain)
        assert torch.equal(as_ever, draw(hash_key(7, epoch, indices, copies), plain))
        assert torch.equal(draws[:, 1:], as_ever[:, 1:])
        if epoch == 0:
            assert torch.equal(draws, as_ever)


def test_a_draw_next_to_1_is_moved_without_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    in_turn, most = Augmentation(crop="none", alternate=True), 1 - 2**-53
    # The sum of `most` and 1/2 is rounded to 3/2, which would leave the image as it is in both epochs.
    monkeypatch.setattr(
        "neocog.data.augment.uniform", lambda keys, count, start=0: torch.full((1, count), most, dtype=torch.float64)
    )
    draws = [draw_in_epoch((0, epoch), torch.tensor([3]), 0, in_turn)[0, 0] for epoch in range(2)]
    assert [bool(each < 0.5) for each in draws] == [False, True]


@pytest.mark.parametrize("combination", [{}, {"affine": Affine(rotate=10)}, {"hue": 0.1, "policy": "randaugment"}])
def test_a_reflected_border_is_all_that_differs_from_a_black_one(combination: dict[str, object]) -> None:
    black, reflect = (Augmentation(crop="pad", pad=3, border=each, **combination) for each in ("black", "reflect"))
    assert torch.equal(draws_of(black, 50), draws_of(reflect, 50))
    batch = images(50)
    centred = draws_of(black, 50)
    centred[:, 1:3] = 0.5
    assert torch.equal(augment(batch, centred, black, "bilinear"), augment(batch, centred, reflect, "bilinear"))
    assert not torch.equal(varied(batch, black), varied(batch, reflect))


def test_switching_the_crop_leaves_the_flips_as_they_are() -> None:
    draws = [draws_of(Augmentation(crop=crop), 100) for crop in ("none", "pad", "random_resized")]
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2][:, : draws[0].shape[1]])


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (375, 500, (0.08, 1.0), (3 / 4, 4 / 3)),
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (100, 700, (0.35, 1.0), (3 / 4, 4 / 3)),
        (700, 100, (0.5, 1.0), (0.5, 2.0)),
    ],
)
def test_boxes_are_distributed_as_torchvisions(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    count = 2000
    reference = transforms.RandomResizedCrop(8, scale=scale, ratio=ratio)
    canvas = torch.empty(1, height, width)
    torch.manual_seed(0)
    theirs = [reference.make_params([canvas]) for _ in range(count)]
    theirs = np.array([[box["top"], box["left"], box["height"], box["width"]] for box in theirs])
    augmentation = Augmentation(scale=scale, ratio=ratio)
    ours = crop_boxes(draws_of(augmentation, count).numpy(), height, width, augmentation)
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] >= 1).all()
    assert (ours[:, :2] + ours[:, 2:] <= [height, width]).all()
    for ask in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: np.log(box[:, 3] / box[:, 2]),
        lambda box: box[:, 0],
        lambda box: box[:, 1],
        lambda box: box[:, 0] + box[:, 2] / 2,
    ):
        assert stats.ks_2samp(ask(ours), ask(theirs)).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_boxes_of_very_small_and_very_long_images_lie_within_them(height: int, width: int) -> None:
    augmentation = Augmentation()
    boxes = crop_boxes(draws_of(augmentation, 200).numpy(), height, width, augmentation)
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [height, width]).all()


@pytest.mark.parametrize(
    ("interpolation", "size"),
    [
        ("nearest", (32, 32)),  # of other sizes, Pillow's choice between equally near pixels is one of rounding
        *((name, size) for name in ("bilinear", "bicubic", "lanczos") for size in ((32, 32), (24, 40))),
    ],
)
def test_resized_boxes_equal_pillows(interpolation: Interpolation, size: tuple[int, int]) -> None:
    height, width = size
    batch, augmentation = images(48, height, width), Augmentation()
    boxes = crop_boxes(draws_of(augmentation, 48).numpy(), height, width, augmentation)
    boxes[0] = (0, 0, height, width)
    result = resize_boxes(batch, boxes, interpolation).permute(0, 2, 3, 1).numpy().astype(int)
    filter_ = Image.Resampling[interpolation.upper()]
    for image, (top, left, tall, wide), got in zip(batch, boxes.tolist(), result, strict=True):
        box = (left, top, left + wide, top + tall)
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((width, height), filter_, box)
        assert np.abs(got - np.asarray(pillow).astype(int)).max() <= 1
    assert torch.equal(resize_boxes(batch[:1], boxes[:1], interpolation), batch[:1])


def test_a_random_resized_crop_in_memory_equals_pillows_of_its_box() -> None:
    augmentation = Augmentation(flip=0)
    batch = images(32)
    draws = draws_of(augmentation, 32)
    boxes = crop_boxes(draws.numpy(), 32, 32, augmentation)
    assert torch.equal(augment(batch, draws, augmentation, "bilinear"), resize_boxes(batch, boxes, "bilinear"))
    assert len(np.unique(boxes, axis=0)) > 25


@pytest.mark.parametrize(
    ("field", "column", "enhancer"),
    [
        ("brightness", 3, ImageEnhance.Brightness),
        ("contrast", 4, ImageEnhance.Contrast),
        ("saturation", 5, ImageEnhance.Color),
    ],
)
def test_colour_changes_equal_pillows(field: str, column: int, enhancer: type) -> None:
    augmentation = Augmentation(crop="none", flip=0, **{field: 0.8})
    batch = images(40)
    draws = draws_of(augmentation, 40)
    result = vary_cropped(batch.clone(), draws, augmentation).permute(0, 2, 3, 1).numpy().astype(int)
    factors = 1 + 0.8 * (2 * draws[:, column] - 1)
    assert factors.min() < 0.4
    assert factors.max() > 1.6
    for image, factor, got in zip(batch, factors.tolist(), result, strict=True):
        expected = enhancer(Image.fromarray(image.permute(1, 2, 0).numpy())).enhance(factor)
        # Pillow truncates where we round, and rounds the grey that it blends with.
        assert np.abs(got - np.asarray(expected).astype(int)).max() <= 2


def test_saturation_leaves_grey_images_alone() -> None:
    batch = images(4, channels=1)
    assert torch.equal(varied(batch, Augmentation(crop="none", flip=0, saturation=1)), batch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("crop", ["none", "pad", "random_resized"])
def test_a_gpu_gives_the_same_images(crop: str) -> None:
    augmentation = Augmentation(crop=crop, brightness=0.3, contrast=0.3, saturation=0.3)
    batch = images(64)
    draws = draws_of(augmentation, 64)
    there = augment(batch.cuda(), draws, augmentation, "bilinear").cpu()
    # Sums in another order may round to the neighbouring value.
    assert (there.int() - augment(batch, draws, augmentation, "bilinear").int()).abs().max() <= 1
