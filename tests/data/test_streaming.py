"""Training crops of photographs: the boxes of their keys, from files and from a cache, and evaluation untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import encoded, picture
from PIL import Image
from torch import Tensor

from neocog.data import streaming
from neocog.data.augment import Augmentation, crop_boxes, draw
from neocog.data.cache import PhotoCache, open_cache
from neocog.data.keys import hash_key
from neocog.data.preprocess import Preprocessing, to_uint8
from neocog.data.rows import image_structs, make_rows
from neocog.data.streaming import Look, Request, StreamedImages
from neocog.data.table import Split
from neocog.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

LOOK = Preprocessing(size=(24, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
PLAIN = Augmentation(flip=0)
COUNT = 40


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Photographs in files: of all sizes, some turned, one grey, one PNG."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number in range(COUNT):
        image = picture(5, 4, seed=number).resize((190 - 3 * number, 90 + 4 * number), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        paths.append(folder / f"{number}.jpg")
        kind = "PNG" if number == 3 else "JPEG"
        paths[-1].write_bytes(encoded(image.convert("L" if number == 5 else "RGB"), kind, quality=95, exif=exif))
    rows = make_rows(image_structs(paths=[str(path) for path in paths]), [0] * COUNT, ["a"])
    return Split(rows, ("a",), "photos/train")


@pytest.fixture(scope="module")
def cache(photos: Split, tmp_path_factory: pytest.TempPathFactory) -> PhotoCache:
    return open_cache(photos, 80, root=tmp_path_factory.mktemp("cache"))


def fetch(images: StreamedImages, *requests: Request) -> Tensor:
    fetched = torch.cat(list(images.fetch(requests)))
    images.close()
    return fetched


def epoch(number: int = 0, **options: object) -> Request:
    return Request(list(range(COUNT)), (7, number), **options)


def apart(first: Tensor, second: Tensor) -> Tensor:
    return (first.int() - second.int()).abs().float()


@pytest.mark.parametrize("crop", ["random_resized", "scale"])
def test_a_crop_is_the_box_of_its_key(photos: Split, crop: str) -> None:
    augmentation = Augmentation(crop=crop, flip=0, sides=(256, 384))
    got = fetch(StreamedImages(photos, LOOK, augmentation), epoch(4))
    for index, image in enumerate(got):
        whole = photos.image(index)
        draws = draw(hash_key(7, 4, torch.tensor([index])), augmentation).numpy()
        top, left, tall, wide = crop_boxes(draws, whole.height, whole.width, augmentation, LOOK.size)[0].tolist()
        box = (left, top, left + wide, top + tall)
        expected = np.array(whole.resize((32, 24), Image.Resampling.BILINEAR, box))
        # At its edges Pillow also looks at what lies beyond the box; edges within a pixel are rounded.
        assert apart(image, torch.from_numpy(expected).permute(2, 0, 1)).mean() < 4


@pytest.mark.parametrize("crop", ["random_resized", "scale", "pad", "none"])
def test_crops_from_a_cache_are_nearly_those_from_the_files(photos: Split, cache: PhotoCache, crop: str) -> None:
    augmentation = Augmentation(crop=crop, brightness=0.3)
    for number in range(3):
        files = fetch(StreamedImages(photos, LOOK, augmentation), epoch(number))
        cached = fetch(StreamedImages(photos, LOOK, augmentation, cache=cache), epoch(number))
        assert apart(files, cached).mean() < 2
        assert not torch.equal(files, cached)


def test_boxes_from_a_cache_have_the_distribution_of_those_from_the_files(
    photos: Split, cache: PhotoCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    cut: list[tuple[float, ...]] = []
    original = streaming.Photograph.crop
    resize = __import__("neocog.data.cache", fromlist=["resize_box"]).resize_box

    def watch_file(self: streaming.Photograph, box: list[float], *rest: object) -> Tensor:
        asked.append((*(value / side for value, side in zip(box, self.size * 2, strict=True)), *self.size))
        return original(self, box, *rest)

    def watch_cache(pixels: Tensor, box: tuple[int, ...], *rest: object) -> Tensor:
        cut.append((*(value / side for value, side in zip(box, pixels.shape[:2] * 2, strict=True)), *pixels.shape[:2]))
        return resize(pixels, box, *rest)

    monkeypatch.setattr("neocog.data.streaming.Photograph.crop", watch_file)
    monkeypatch.setattr("neocog.data.cache.resize_box", watch_cache)
    for number in range(25):
        fetch(StreamedImages(photos, LOOK, PLAIN), epoch(number))
        fetch(StreamedImages(photos, LOOK, PLAIN, cache=cache), epoch(number))
    files, cached = np.array(asked), np.array(cut)
    assert len(files) == len(cached) == 25 * COUNT
    # Box by box they differ by the rounding to whole pixels of the cache, an edge by half a pixel.
    assert (np.abs(files[:, :4] - cached[:, :4]) <= 1.0001 / cached[:, [4, 5, 4, 5]]).all()
    # On the whole, then, areas, shapes and places are drawn alike.
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        area = [np.quantile(boxes[:, 2] * boxes[:, 3], share) for boxes in (files, cached)]
        ratio = [np.quantile(boxes[:, 3] / boxes[:, 2], share) for boxes in (files, cached)]
        top = [np.quantile(boxes[:, 0], share) for boxes in (files, cached)]
        assert area[0] == pytest.approx(area[1], abs=0.01)
        assert ratio[0] == pytest.approx(ratio[1], abs=0.02)
        assert top[0] == pytest.approx(top[1], abs=0.01)


@pytest.mark.parametrize("crop", ["random_resized", "none"])
def test_a_cache_gives_the_same_for_any_number_of_workers(photos: Split, cache: PhotoCache, crop: str) -> None:
    augmentation = Augmentation(crop=crop)
    requests = [Request(list(range(first, first + 8)), (1, 2)) for first in range(0, COUNT, 8)]
    expected = fetch(StreamedImages(photos, LOOK, augmentation, cache=cache), *requests)
    for workers in (1, 2):
        images = StreamedImages(photos, LOOK, augmentation, cache=cache, workers=workers)
        assert torch.equal(fetch(images, *requests), expected)


def test_evaluation_reads_the_files_whatever_is_cached(photos: Split, cache: PhotoCache) -> None:
    request = Request(range(COUNT), None)
    for augmentation in (None, PLAIN):
        got = fetch(StreamedImages(photos, LOOK, augmentation, cache=cache), request)
        for index, image in enumerate(got):
            assert torch.equal(image, to_uint8(photos.image(index), LOOK))


@pytest.mark.parametrize("cached", [False, True])
def test_a_request_may_bring_its_own_look_and_copies(photos: Split, cache: PhotoCache, cached: bool) -> None:
    images = StreamedImages(photos, LOOK, PLAIN, cache=cache if cached else None)
    (plain,) = images.fetch([Request([5, 5, 5], (0, 0))])
    (copied,) = images.fetch([Request([5, 5, 5], (0, 0), copies=[0, 1, 1])])
    assert torch.equal(plain[0], plain[1])
    assert torch.equal(copied[0], plain[0])
    assert not torch.equal(copied[0], copied[1])
    assert torch.equal(copied[1], copied[2])
    larger = LOOK.model_copy(update={"size": (40, 40)})
    varied = Augmentation(crop="scale", flip=1)
    (other,) = images.fetch([Request([5, 6], (0, 0), look=Look(larger, varied))])
    expected = StreamedImages(photos, larger, varied, cache=cache if cached else None)
    assert torch.equal(other, fetch(expected, Request([5, 6], (0, 0))))


def test_a_cache_of_other_images_is_refused(photos: Split, cache: PhotoCache) -> None:
    with pytest.raises(UsageError, match=r"not of photos/train"):
        StreamedImages(photos.select(range(5)), LOOK, PLAIN, cache=cache)
    grey = Preprocessing(size=(8, 8), mean=(0.5,), std=(0.5,), channels=1)
    with pytest.raises(UsageError, match=r"not of photos/train"):
        StreamedImages(photos, grey, PLAIN, cache=cache)


NOISY = """
import sys
from neocog.data.augment import Augmentation
from neocog.data.preprocess import Preprocessing
from neocog.data.rows import image_structs, make_rows
from neocog.data.streaming import Request, StreamedImages
from neocog.data.table import Split

split = Split(make_rows(image_structs(paths=[sys.argv[1]]), [0], ["a"]), ("a",), "photos")
look = Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
images = StreamedImages(split, look, Augmentation(), workers=1)
print(len(list(images.fetch([Request([0], (0, 0))] * 3))))
"""


def test_a_worker_is_silent_about_an_odd_jpeg(tmp_path: Path) -> None:
    whole = encoded(picture(200, 300), quality=80)
    middle = len(whole) * 2 // 3
    path = tmp_path / "odd.jpg"
    path.write_bytes(whole[:middle] + bytes(40) + whole[middle:])
    done = subprocess.run(
        [sys.executable, "-c", NOISY, str(path)], capture_output=True, text=True, check=True, env=os.environ
    )
    assert (done.stdout, done.stderr) == ("3\n", "")
