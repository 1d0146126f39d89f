"""Batches: the same for any number of workers, processes and interruptions, and what prediction would see."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from neocog.data import feed, memory
from neocog.data.augment import Augmentation
from neocog.data.loading import Batch, evaluation_batches, measure_mean_std, training_batches
from neocog.data.preprocess import Preprocessing, open_image, preprocess, to_uint8
from neocog.data.rows import image_structs, make_rows
from neocog.data.table import Split
from neocog.errors import DataError, UsageError

# Three workers are one more than some machines have cores, on which PyTorch remarks.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

PHOTO = Preprocessing(size=(24, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SMALL = Preprocessing(size=(16, 16), fit="squash", mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def picture(seed: int, height: int, width: int, mode: str = "RGB") -> Image.Image:
    """A smooth picture, so that JPEG keeps it nearly as it is."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def table(encoded: list[bytes], classes: int = 3) -> Split:
    names = [f"class {number}" for number in range(classes)]
    labels = [number % classes for number in range(len(encoded))]
    return Split(make_rows(image_structs(encoded=encoded), labels, names), tuple(names), "pictures/train")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """23 photographs in files, of all sizes, one of them turned by its EXIF and one grey."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number in range(23):
        image = picture(number, 40 + 3 * number, 90 - 2 * number, "L" if number == 5 else "RGB")
        exif = Image.Exif()
        if number == 7:
            exif[0x0112] = 6
        paths.append(folder / f"{number}.jpg")
        image.save(paths[-1], quality=95, exif=exif)
    labels = [number % 2 for number in range(23)]
    rows = make_rows(image_structs(paths=[str(path) for path in paths]), labels, ["a", "b"])
    return Split(rows, ("a", "b"), "photos/train")


@pytest.fixture(scope="module")
def small() -> Split:
    return table([encode(picture(number, 16, 16)) for number in range(23)])


def flat(steps) -> list[Batch]:
    return [batch for step in steps for batch in step]


def assert_equal(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(one.images, other.images)


@pytest.mark.parametrize("crop", ["random_resized", "pad", "none"])
def test_batches_do_not_depend_on_the_number_of_workers(photos: Split, crop: str) -> None:
    augmentation = Augmentation(crop=crop, brightness=0.2, contrast=0.2, saturation=0.2)
    runs = []
    for workers in (0, 1, 2, 3):
        batches = training_batches(photos, PHOTO, augmentation, batch_size=4, seed=3, workers=workers)
        runs.append([batch for epoch in (0, 1) for batch in flat(batches.steps(epoch))])
        batches.close()
    for run in runs[1:]:
        assert_equal(runs[0], run)
    assert len(runs[0]) == 10


@pytest.mark.parametrize(("name", "workers"), [("photos", 0), ("photos", 2), ("small", 0)])
def test_an_epoch_begun_at_a_later_step_goes_on_as_the_whole_one(
    request: pytest.FixtureRequest, name: str, workers: int
) -> None:
    split = request.getfixturevalue(name)
    made = [training_batches(split, PHOTO, Augmentation(), batch_size=4, workers=workers) for _ in range(2)]
    whole = list(made[0].steps(1))
    assert len(whole) == made[0].steps_per_epoch == 5
    for start in (0, 1, 4):
        assert_equal(flat(whole[start:]), flat(made[1].steps(1, start=start)))
    assert list(made[1].steps(1, start=5)) == []


def test_steps_before_the_start_are_not_read(photos: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    monkeypatch.setattr(
        "neocog.data.streaming.encoded_image", lambda row: reads.append(1) or Path(row["image"]["path"])
    )
    assert len(list(training_batches(photos, PHOTO, Augmentation(), batch_size=4).steps(0, start=3))) == 2
    assert len(reads) == 8


def test_an_epoch_broken_off_leaves_the_next_ones_as_they_are(photos: Split) -> None:
    batches = training_batches(photos, PHOTO, Augmentation(), batch_size=4, workers=2)
    expected = flat(training_batches(photos, PHOTO, Augmentation(), batch_size=4).steps(1))
    for _ in batches.steps(0):
        break
    assert_equal(flat(batches.steps(1)), expected)
    batches.close()
    assert_equal(flat(batches.steps(1)), expected)
    batches.close()


def test_an_epoch_shows_every_image_once_less_what_fills_no_batch(small: Split) -> None:
    batches = training_batches(small, SMALL, Augmentation(), batch_size=4)
    shown = [torch.cat([batch.indices for batch in flat(batches.steps(epoch))]) for epoch in range(30)]
    for indices in shown:
        assert len(indices) == len(indices.unique()) == 20
    assert len(torch.cat(shown).unique()) == 23
    assert len({tuple(indices.tolist()) for indices in shown}) == 30


def test_targets_belong_to_their_images(small: Split) -> None:
    for batch in flat(training_batches(small, SMALL, Augmentation(), batch_size=4).steps(0)):
        assert batch.targets.dtype == torch.int64
        assert torch.equal(batch.targets, batch.indices % 3)
        assert len(batch) == 4


@pytest.mark.parametrize("name", ["photos", "small"])
def test_two_processes_see_what_one_sees_that_accumulates_twice(request: pytest.FixtureRequest, name: str) -> None:
    split = request.getfixturevalue(name)

    def steps(**settings: int) -> list[list[Batch]]:
        return list(training_batches(split, PHOTO, Augmentation(), batch_size=8, **settings).steps(0))

    once = steps()
    alone = steps(accumulate=4)
    ranks = [steps(accumulate=2, world_size=2, rank=rank) for rank in range(2)]
    four = [steps(world_size=4, rank=rank) for rank in range(4)]
    for number, micro_batches in enumerate(alone):
        assert [len(batch) for batch in micro_batches] == [2, 2, 2, 2]
        assert_equal(micro_batches, ranks[0][number] + ranks[1][number])
        assert_equal(micro_batches, [batch for rank in four for batch in rank[number]])
        assert torch.equal(torch.cat([batch.images for batch in micro_batches]), once[number][0].images)


@pytest.mark.parametrize(
    ("settings", "sizes"), [({}, [23]), ({"accumulate": 2}, [11, 11]), ({"accumulate": 8}, [2] * 8)]
)
def test_a_set_smaller_than_a_batch_makes_one_batch_of_all(
    small: Split, settings: dict[str, int], sizes: list[int]
) -> None:
    batches = training_batches(small, SMALL, Augmentation(), batch_size=64, **settings)
    assert batches.batch_size == sum(sizes)
    assert batches.steps_per_epoch == 1
    (step,) = batches.steps(0)
    assert [len(batch) for batch in step] == sizes


def test_batches_that_cannot_be_divided_are_refused(small: Split) -> None:
    with pytest.raises(UsageError, match=r"batch of 10 .* multiple of 4"):
        training_batches(small, SMALL, Augmentation(), batch_size=10, accumulate=2, world_size=2)
    with pytest.raises(DataError, match="23 training images are too few for 32"):
        training_batches(small, SMALL, Augmentation(), batch_size=64, accumulate=32)
    for wrong in ({"batch_size": 0}, {"batch_size": 4, "rank": 1}, {"batch_size": 4, "accumulate": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            training_batches(small, SMALL, Augmentation(), **wrong)
    with pytest.raises(UsageError, match="workers"):
        training_batches(small, SMALL, Augmentation(), batch_size=4, workers=-1, in_memory=False)
    with pytest.raises(UsageError, match="at least 1"):
        evaluation_batches(small, SMALL, batch_size=0)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("name", "workers"), [("photos", 0), ("photos", 2), ("small", 0)])
@pytest.mark.parametrize("look", [PHOTO, SMALL, SMALL.model_copy(update={"fit": "pad"})])
def test_evaluation_sees_exactly_what_prediction_sees(
    request: pytest.FixtureRequest, name: str, workers: int, look: Preprocessing, channels_last: bool
) -> None:
    split = request.getfixturevalue(name)
    batches = evaluation_batches(split, look, batch_size=5, workers=workers, channels_last=channels_last)
    seen = list(batches)
    assert [len(batch) for batch in seen] == [5, 5, 5, 5, 3]
    assert len(batches) == 5
    assert torch.equal(torch.cat([batch.indices for batch in seen]), torch.arange(23))
    assert torch.equal(torch.cat([batch.targets for batch in seen]), split.targets())
    for index, image in enumerate(torch.cat([batch.images for batch in seen])):
        assert torch.equal(image, preprocess(split.image(index), look))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert all(batch.images.is_contiguous(memory_format=layout) for batch in seen)


def test_an_evaluation_broken_off_leaves_another_alone(photos: Split) -> None:
    batches = evaluation_batches(photos, PHOTO, batch_size=5, workers=1)
    broken, whole = iter(batches), iter(batches)
    next(broken)
    seen = [next(whole)]
    del broken
    seen += list(whole)
    assert torch.equal(torch.cat([batch.indices for batch in seen]), torch.arange(23))


def test_evaluation_of_grey_images_and_of_none() -> None:
    split = table([encode(picture(number, 10, 12, "L")) for number in range(3)])
    look = Preprocessing(size=(12, 12), fit="pad", mean=(0.1,), std=(0.3,), channels=1)
    for in_memory in (True, False):
        (batch,) = evaluation_batches(split, look, batch_size=8, in_memory=in_memory)
        for index in range(3):
            assert torch.equal(batch.images[index], preprocess(open_image(split.image(index), 1), look))
    assert list(evaluation_batches(split.select([]), look, batch_size=8)) == []


@pytest.mark.parametrize("crop", ["pad", "none"])
def test_images_in_memory_and_streamed_ones_are_the_same(small: Split, crop: str) -> None:
    augmentation = Augmentation(crop=crop, pad=2, brightness=0.3)
    kept, streamed = (
        flat(training_batches(small, SMALL, augmentation, batch_size=5, in_memory=in_memory).steps(2))
        for in_memory in (True, False)
    )
    assert_equal(kept, streamed)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "missing"])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, workers: int, training: bool, damage: str) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(6)]
    for number, path in enumerate(paths):
        picture(number, 200, 300).save(path)
    whole = paths[3].read_bytes()
    paths[3].write_bytes(
        {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"not an image"}.get(damage, b"")
    )
    if damage == "missing":
        paths[3].unlink()
    split = Split(make_rows(image_structs(paths=[str(path) for path in paths]), [0] * 6, ["a"]), ("a",), "photos")
    if training:
        batches = iter(training_batches(split, PHOTO, Augmentation(), batch_size=6, workers=workers).steps(0))
    else:
        batches = iter(evaluation_batches(split, PHOTO, batch_size=2, workers=workers))
    with pytest.raises(DataError) as caught:
        list(batches)
    assert str(paths[3]) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_image_in_a_table_is_named() -> None:
    encoded = [encode(picture(number, 16, 16)) for number in range(6)]
    encoded[4] = encoded[4][:60]
    split = table(encoded)
    for in_memory in (True, False):
        with pytest.raises(DataError, match=r"pictures/train\[4\]"):
            list(evaluation_batches(split, SMALL, batch_size=3, in_memory=in_memory))


def test_many_small_images_are_decoded_by_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_FEW", 10)
    monkeypatch.setattr(memory, "_BLOCK", 4)
    split = table([encode(picture(number, 8, 8)) for number in range(23)])
    pixels = memory.decode(split, SMALL)
    assert torch.equal(pixels, torch.stack([to_uint8(split.image(index), SMALL) for index in range(23)]))


def test_a_split_is_decoded_once_for_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    split = table([encode(picture(number, 8, 8)) for number in range(5)])
    pixels = memory.decode(split, SMALL)
    assert memory.decode(split, SMALL.model_copy(update={"mean": (0.0,) * 3})) is pixels
    assert memory.decode(split, SMALL.model_copy(update={"size": (8, 8)})).shape == (5, 3, 8, 8)


def test_small_images_go_to_memory_unless_they_are_much_enlarged(small: Split, photos: Split) -> None:
    def store(split: Split, look: Preprocessing) -> str:
        return type(training_batches(split, look, Augmentation(), batch_size=4)._feed._images).__name__

    assert store(small, SMALL) == "MemoryImages"
    assert store(small, SMALL.model_copy(update={"size": (224, 224)})) == "StreamedImages"
    assert store(photos, PHOTO) == "StreamedImages"


def test_mean_and_deviation_are_numpys(small: Split, photos: Split) -> None:
    for split, look in ((small, SMALL), (photos, PHOTO)):
        pixels = torch.stack([to_uint8(split.image(index), look) for index in range(23)]).numpy() / 255
        mean, std = measure_mean_std(split, look)
        np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-9)


def test_the_deviation_of_a_colour_that_never_varies_is_one() -> None:
    split = table([encode(Image.new("RGB", (8, 8), (51, 0, 255)))] * 3)
    mean, std = measure_mean_std(split, SMALL)
    assert mean == pytest.approx((0.2, 0.0, 1.0))
    assert std == (1.0, 1.0, 1.0)


def test_nothing_has_no_mean(small: Split) -> None:
    with pytest.raises(DataError, match="no images"):
        measure_mean_std(small.select([]), SMALL)


def test_cifar10s_mean_and_deviation_are_the_known_ones(shared_data: Path) -> None:
    from neocog.data.sources import load_split

    split = load_split("cifar10", data_dir=shared_data / "cifar10", split="train")
    assert len(split) == 50_000
    # Every fifth image: the standard error of such a mean is 0.001.
    mean, std = measure_mean_std(split.select(range(0, 50_000, 5)), SMALL.model_copy(update={"size": (32, 32)}))
    assert mean == pytest.approx((0.4913, 0.4821, 0.4465), abs=0.005)
    assert std == pytest.approx((0.2452, 0.2428, 0.2606), abs=0.005)


def test_the_networks_own_random_numbers_are_left_alone(photos: Split) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for workers in (0, 1):
        batches = training_batches(photos, PHOTO, Augmentation(), batch_size=4, workers=workers)
        flat(batches.steps(0))
        batches.close()
    assert torch.equal(torch.rand(3), expected)


def test_waiting_is_counted(photos: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(feed, "perf_counter", lambda: float(next(clock)))
    batches = training_batches(photos, PHOTO, Augmentation(), batch_size=4)
    assert batches.waited == 0
    steps = batches.steps(0)
    next(steps)
    next(steps)
    assert batches.waited == 2


TRAINER = """
import signal, sys, time
from neocog.data.augment import Augmentation
from neocog.data.loading import training_batches
from neocog.data.preprocess import Preprocessing
from neocog.data.rows import image_structs, make_rows
from neocog.data.table import Split

paths = [sys.argv[1]] * 400
split = Split(make_rows(image_structs(paths=paths), [0] * 400, ["a"]), ("a",), "photos")
look = Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
received = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: received.append(number))
batches = training_batches(split, look, Augmentation(), batch_size=4, workers=2)
after = 0
for step in batches.steps(0):
    time.sleep(0.02)
    if after == 0 and not received:
        print("ready", flush=True)
    after += bool(received)
    if after == 20:
        break
print("received", *received, "steps after", after, flush=True)
"""


def begin(tmp_path: Path) -> subprocess.Popen[str]:
    path = tmp_path / "photo.jpg"
    picture(0, 60, 80).save(path)
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def others(group: int) -> list[int]:
    """Return the processes of a group that live."""
    listing = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return [int(pid) for pid, pgid, stat in rows if int(pgid) == group and not stat.startswith("Z")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_stops_no_worker_and_prints_no_traceback(tmp_path: Path, number: int) -> None:
    process = begin(tmp_path)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert output.splitlines()[-1] == f"received {int(number)} steps after 20"
    assert errors == ""
    assert process.returncode == 0
    assert others(process.pid) == []


def test_an_error_ends_the_workers_at_once(tmp_path: Path) -> None:
    path = tmp_path / "0.jpg"
    path.write_bytes(b"not an image")
    split = Split(make_rows(image_structs(paths=[str(path)]), [0], ["a"]), ("a",), "photos")
    batches = training_batches(split, PHOTO, Augmentation(), batch_size=1, workers=2, in_memory=False)
    steps = batches.steps(0)
    before = {child.pid for child in multiprocessing.active_children()}
    with pytest.raises(DataError) as caught:
        next(steps)
    assert {child.pid for child in multiprocessing.active_children()} <= before
    assert caught.value is not None  # the error, its frames and the broken generator are still here


def test_a_killed_run_leaves_no_workers_behind(tmp_path: Path) -> None:
    process = begin(tmp_path)
    assert len(others(process.pid)) == 3
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while others(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert others(process.pid) == []
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()


def test_a_worker_that_dies_is_reported_in_one_line(photos: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neocog.data.streaming.draw_in_epoch", lambda *arguments: os._exit(9))
    batches = training_batches(photos, PHOTO, Augmentation(), batch_size=4, workers=1)
    with pytest.raises(DataError, match=r"died.*workers=0"):
        list(batches.steps(0))
    batches.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("name", "workers"), [("photos", 0), ("photos", 2), ("small", 0)])
def test_batches_arrive_on_the_gpu(request: pytest.FixtureRequest, name: str, workers: int) -> None:
    split: Split = request.getfixturevalue(name)

    def run(device: str, workers: int) -> list[Tensor]:
        augmentation = Augmentation(crop="pad")
        made = training_batches(split, PHOTO, augmentation, batch_size=4, workers=workers, device=device)
        images = [batch.images for batch in flat(made.steps(0))]
        made.close()
        return images

    for there, here in zip(run("cuda", workers), run("cpu", 0), strict=True):
        assert there.is_cuda
        torch.testing.assert_close(there.cpu(), here)
