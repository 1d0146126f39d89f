"""Multi-crop: views of the sizes asked for, a function of their keys, cut as torchvision cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import picture
from PIL import Image
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from neocog.data.augment import Augmentation, augment, crop_boxes, draw
from neocog.data.cache import cache_side, open_cache
from neocog.data.feed import Feed
from neocog.data.folder import read_folder
from neocog.data.keys import hash_key
from neocog.data.memory import MemoryImages
from neocog.data.mixing import Mixing
from neocog.data.multicrop import Crops, MultiCrop
from neocog.data.preprocess import Preprocessing
from neocog.data.streaming import Look, StreamedImages, request_keys
from neocog.data.table import Split
from neocog.errors import UsageError

PHOTO = Preprocessing(size=(48, 48), mean=(0.5,) * 3, std=(0.25,) * 3)
SMALL = MultiCrop(crops=(Crops(count=2, side=24, scale=(0.4, 1.0)), Crops(count=3, side=10, scale=(0.05, 0.4))))
VARIED = Augmentation(brightness=0.3, hue=0.1)
LOOK = Look(PHOTO, VARIED)


def images(count: int, height: int = 40, width: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        path = folder / ("a", "b")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        picture(6, 5, seed=number).resize((90 + 3 * number, 70 + number), Image.Resampling.BICUBIC).save(path)
    return read_folder(folder).training


def test_by_default_there_are_two_large_and_six_small_views() -> None:
    views = MultiCrop()
    assert views.views == 8
    shapes = [tuple(batch.shape) for batch in views.cut(images(2), torch.arange(2), (0, 0), Augmentation())]
    assert shapes == [(4, 3, 224, 224), (12, 3, 96, 96)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"crops": ()},
        {"crops": ({"count": 0, "side": 8, "scale": (0.1, 1)},)},
        {"crops": ({"count": 1, "side": 0, "scale": (0.1, 1)},)},
        {"crops": ({"count": 1, "side": 8, "scale": (0.0, 1)},)},
        {"crops": ({"count": 1, "side": 8, "scale": (0.5, 0.4)},)},
        {"sizes": (224, 96)},
    ],
)
def test_views_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MultiCrop(**wrong)


def test_another_crop_is_refused() -> None:
    padded = Augmentation(crop="pad")
    with pytest.raises(UsageError, match="crop='pad'"):
        SMALL.requests([0], (0, 0), Look(PHOTO, padded))
    with pytest.raises(UsageError, match="crop='pad'"):
        SMALL.cut(images(1), torch.arange(1), (0, 0), padded)


def test_a_view_is_the_crop_of_its_key() -> None:
    batch, indices = images(4), torch.tensor([7, 3, 11, 5])
    copy = 0
    for crops, got in zip(SMALL.crops, SMALL.cut(batch, indices, (9, 2), VARIED), strict=True):
        augmentation = VARIED.model_copy(update={"scale": crops.scale})
        for view in got.chunk(crops.count):
            for image, index, one in zip(batch, indices, view, strict=True):
                draws = draw(hash_key(9, 2, index.view(1), copy), augmentation)
                expected = augment(image[None], draws, augmentation, "bilinear", (crops.side, crops.side))[0]
                assert torch.equal(one, expected)
            copy += 1
    assert copy == SMALL.views


def test_views_depend_on_seed_epoch_and_index_and_not_on_the_batch() -> None:
    batch, indices = images(6), torch.arange(6)
    whole = SMALL.cut(batch, indices, (1, 2), VARIED)
    assert all(map(torch.equal, whole, SMALL.cut(batch, indices, (1, 2), VARIED)))
    turned = SMALL.cut(batch.flip(0), indices.flip(0), (1, 2), VARIED)
    for crops, one, other in zip(SMALL.crops, whole, turned, strict=True):
        assert torch.equal(one.unflatten(0, (crops.count, 6)), other.unflatten(0, (crops.count, 6)).flip(1))
    for key, places in (((1, 3), indices), ((2, 2), indices), ((1, 2), indices + 6)):
        assert not any(map(torch.equal, whole, SMALL.cut(batch, places, key, VARIED)))


def test_no_two_views_of_an_image_are_alike() -> None:
    large, small = SMALL.cut(images(1), torch.arange(1), (0, 0), VARIED)
    for views in (large, small):
        assert len({view.numpy().tobytes() for view in views}) == len(views)


def test_more_small_views_leave_the_others_as_they_are() -> None:
    more = MultiCrop(crops=(SMALL.crops[0], SMALL.crops[1].model_copy(update={"count": 5})))
    batch, indices = images(3), torch.arange(3)
    fewer, all_of_them = (each.cut(batch, indices, (0, 0), VARIED) for each in (SMALL, more))
    assert torch.equal(fewer[0], all_of_them[0])
    assert torch.equal(fewer[1], all_of_them[1][: 3 * 3])


@pytest.mark.parametrize(("height", "width"), [(375, 500), (64, 64)])
def test_the_areas_are_distributed_as_torchvisions(height: int, width: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    canvas = torch.empty(1, height, width)
    torch.manual_seed(0)
    for request, crops in zip(MultiCrop().requests(range(700), (0, 0), Look(PHOTO, Augmentation())), MultiCrop().crops,
                              strict=True):  # fmt: skip
        assert request.look is not None
        indices = torch.tensor(request.indices)
        draws = draw(request_keys(request, indices), request.look.augmentation).numpy()
        boxes = crop_boxes(draws, height, width, request.look.augmentation)
        reference = transforms.RandomResizedCrop(8, scale=crops.scale)
        theirs = [reference.make_params([canvas]) for _ in range(1500)]
        areas = np.array([box["height"] * box["width"] for box in theirs])
        assert len(boxes) == crops.count * 700
        assert stats.ks_2samp(boxes[:, 2] * boxes[:, 3], areas).pvalue > 1e-3
        # And the views of an image are as far from each other as strangers are.
        first, second = (boxes[700 * view : 700 * (view + 1), 2:].prod(1) for view in (0, 1))
        assert abs(stats.spearmanr(first, second).statistic) < 0.15


def test_each_view_takes_its_own_turns_at_being_mirrored() -> None:
    # Of the crop all is taken, so that what is seen is the image or its mirror image.
    views = MultiCrop(crops=(Crops(count=2, side=16, scale=(1, 1)), Crops(count=3, side=8, scale=(1, 1))))
    augmentation, batch = Augmentation(ratio=(1, 1), alternate=True), images(30, 16, 16)
    before = views.cut(batch, torch.arange(30), (0, 0), augmentation)
    assert len({each.numpy().tobytes() for each in before[0].chunk(2)}) == 2
    for epoch in (1, 2, 3):
        now = views.cut(batch, torch.arange(30), (0, epoch), augmentation)
        assert all(torch.equal(one, other.flip(-1)) for one, other in zip(before, now, strict=True))
        store = MemoryImages(batch, Look(PHOTO, augmentation))
        fetched = store.fetch(views.requests(range(30), (0, epoch), Look(PHOTO, augmentation)))
        assert all(map(torch.equal, fetched, now))
        before = now


def test_images_in_memory_give_the_same_views() -> None:
    batch, indices = images(8), [5, 0, 7]
    store = MemoryImages(batch, LOOK)
    fetched = list(store.fetch(SMALL.requests(indices, (3, 1), LOOK)))
    cut = SMALL.cut(batch[indices], torch.tensor(indices), (3, 1), VARIED)
    assert all(map(torch.equal, fetched, cut))


@pytest.mark.parametrize("cached", [False, True])
def test_photographs_of_any_size_give_views(photos: Split, cached: bool, tmp_path: Path) -> None:
    side = max(cache_side(*look) for look in SMALL.looks(LOOK))
    cache = open_cache(photos, side, root=tmp_path) if cached else None
    indices = [4, 1, 9]
    shapes = []
    for workers in (0, 2):
        store = StreamedImages(photos, PHOTO, VARIED, workers=workers, cache=cache)
        shapes.append(list(store.fetch(SMALL.requests(indices, (3, 1), LOOK))))
        store.close()
    assert all(map(torch.equal, *shapes))
    assert [tuple(batch.shape) for batch in shapes[0]] == [(6, 3, 24, 24), (9, 3, 10, 10)]
    # The third image's second large view is the box of its key.
    crops = SMALL.crops[0]
    augmentation = VARIED.model_copy(update={"scale": crops.scale})
    whole = photos.image(9)
    draws = draw(hash_key(3, 1, torch.tensor([9]), 1), augmentation)
    pixels = torch.from_numpy(np.array(whole)).permute(2, 0, 1)[None]
    expected = augment(pixels, draws, augmentation, "bilinear", (24, 24))[0]
    assert (shapes[0][0][5].int() - expected.int()).abs().float().mean() < (12 if cached else 6)


def test_a_feed_makes_normalised_batches_of_views(photos: Split) -> None:
    feed = Feed(StreamedImages(photos, PHOTO, VARIED), photos, LOOK, torch.device("cpu"), False, None)
    lit = Look(PHOTO, VARIED.model_copy(update={"lighting": 0.1}))
    indices = [2, 3, 8, 11]
    large, small = feed.batches(SMALL.requests(indices, (0, 4), lit), Mixing(), ())
    assert large.images.dtype == small.images.dtype == torch.float32
    assert (large.images.shape, small.images.shape) == ((8, 3, 24, 24), (12, 3, 10, 10))
    assert large.indices.tolist() == indices * 2
    assert small.targets.tolist() == photos.targets()[indices].tolist() * 3
    feed.close()
