"""Random erasing: timm's boxes given the same draws, and what they are painted with."""

from __future__ import annotations

import random

import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from neocog.data.augment import Augmentation, finish
from neocog.data.erase import DRAWS, erase, erased_boxes
from neocog.data.keys import hash_key, uniform
from neocog.data.preprocess import Preprocessing

LOOK = Preprocessing(size=(32, 32), mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def keys(count: int) -> Tensor:
    return hash_key(1, 2, torch.arange(count))


@pytest.mark.parametrize("size", [(32, 32), (40, 17), (9, 200)])
@pytest.mark.parametrize("area", [(0.02, 1 / 3), (0.3, 0.9)])
def test_boxes_are_timms(size: tuple[int, int], area: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    erasing = pytest.importorskip("timm.data.random_erasing")
    draws = uniform(keys(200), DRAWS)
    boxes = erased_boxes(draws, *size, 0.7, area)
    reference = erasing.RandomErasing(0.7, *area, max_aspect=1 / 0.3, mode="const", device="cpu")
    assert int(boxes[:, 2].gt(0).sum()) < 200
    for (whether, top, left, *shapes), box in zip(draws.tolist(), boxes, strict=True):
        tries, places = iter(shapes), iter((top, left))
        monkeypatch.setattr(random, "random", lambda value=whether: value)
        monkeypatch.setattr(random, "uniform", lambda low, high, tries=tries: low + (high - low) * next(tries))
        monkeypatch.setattr(
            random, "randint", lambda low, high, places=places: int(low + next(places) * (high - low + 1))
        )
        expected = reference(torch.ones(1, 3, *size))
        got = erase(torch.ones(1, 3, *size), box[None], "mean", torch.zeros(1, dtype=torch.int64), 0)
        assert torch.equal(got, expected)


def test_images_are_erased_as_often_as_asked_for() -> None:
    boxes = erased_boxes(uniform(keys(10_000), DRAWS), 32, 32, 0.25, (0.02, 0.33))
    assert stats.binomtest(int(boxes[:, 2].gt(0).sum()), 10_000, 0.25).pvalue > 1e-4


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_noise_is_standard_normal_within_the_box_alone(channels: int) -> None:
    count = 300
    boxes = erased_boxes(uniform(keys(count), DRAWS), 32, 24, 1.0, (0.1, 0.4))
    images = erase(torch.full((count, channels, 32, 24), 7.0), boxes, "noise", keys(count), 1 << 21)
    values = []
    for image, (top, left, tall, wide) in zip(images, boxes.tolist(), strict=True):
        inside = image[:, top : top + tall, left : left + wide].clone()
        values.append(inside.flatten())
        image[:, top : top + tall, left : left + wide] = 7
        assert (image == 7).all()
    noise = torch.cat(values)
    assert stats.kstest(noise[::7].numpy(), "norm").pvalue > 1e-3
    assert abs(noise.mean()) < 0.01
    assert abs(torch.corrcoef(torch.stack([noise[1:], noise[:-1]]))[0, 1]) < 0.01


@pytest.mark.parametrize("fill", ["noise", "mean"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_images_erasing_depends_on_its_key_alone(fill: str, layout: torch.memory_format) -> None:
    augmentation = Augmentation(erase=0.8, erase_fill=fill, lighting=0.1)
    images = torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = finish(images.clone().contiguous(memory_format=layout), keys(12), augmentation, LOOK)
    for place in range(12):
        alone = finish(images[place : place + 1].clone(), keys(12)[place : place + 1], augmentation, LOOK)
        assert torch.equal(alone[0], together[place])


def test_switching_erasing_on_leaves_the_lighting_as_it_is() -> None:
    images = torch.zeros(50, 3, 32, 32)
    light = finish(images.clone(), keys(50), Augmentation(lighting=0.1), LOOK)
    both = finish(images.clone(), keys(50), Augmentation(lighting=0.1, erase=1.0, erase_fill="mean"), LOOK)
    assert torch.equal(both[both != 0], light[both != 0])


@pytest.mark.parametrize("wrong", [{"erase_area": (0.5, 0.2)}, {"erase_area": (0.0, 0.2)}, {"erase": 1.5}])
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**wrong)
