"""The cache of decoded photographs: what is in it, when it is built, and that nothing breaks it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import encoded, picture, write_shard
from PIL import Image

from neocog import _files
from neocog.data import cache_build, cache_parts
from neocog.data.cache import PhotoCache, cache_root, cache_side, open_cache, plan_cache, remove_caches
from neocog.data.preprocess import Preprocessing
from neocog.data.rows import image_structs, make_rows
from neocog.data.sources import read_source
from neocog.data.table import Split
from neocog.errors import DataError, StorageError

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

SIDE = 32


def photograph(seed: int, width: int = 60, height: int = 48) -> bytes:
    return encoded(picture(5, 4, seed=seed).resize((width, height), Image.Resampling.BICUBIC), quality=95)


def of_files(paths: list[Path]) -> Split:
    rows = make_rows(image_structs(paths=[str(path) for path in paths]), [0] * len(paths), ["a"])
    return Split(rows, ("a",), "photos/train")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    files = [folder / f"{number}.jpg" for number in range(20)]
    for number, path in enumerate(files):
        path.write_bytes(photograph(number, 60 + number, 48 + 2 * number))
    return files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "caches"


class Decoding:
    """Counts the photographs that are decoded for a cache."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, done: int, of: int) -> None:
        self.count = done


def build(split: Split, root: Path, side: int = SIDE, **options: object) -> tuple[PhotoCache, int]:
    decoding = Decoding()
    return open_cache(split, side, root=root, progress=decoding, **options), decoding.count


def assert_holds(cache: PhotoCache, split: Split, side: int = SIDE) -> None:
    assert len(cache) == len(split)
    for index in range(len(split)):
        image = split.image(index, cache.channels)
        assert tuple(cache.sizes[index].tolist()) == (image.height, image.width)
        factor = min(1.0, side / min(image.size))
        size = (round(image.width * factor), round(image.height * factor))
        expected = np.array(image.resize(size, Image.Resampling.BICUBIC)).reshape(size[1], size[0], -1)
        assert tuple(cache.pixels(index).shape) == expected.shape
        assert np.abs(cache.pixels(index).numpy().astype(int) - expected).mean() < 1


def files_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_cache_holds_every_photograph_shrunk(paths: list[Path], root: Path, channels: int, workers: int) -> None:
    split = of_files(paths)
    cache, decoded = build(split, root, channels=channels, workers=workers)
    assert decoded == 20
    assert (cache.side, cache.channels) == (SIDE, channels)
    assert cache.bytes == sum(cache.pixels(index).numel() for index in range(20))
    assert_holds(cache, split)
    small, _ = build(split, root, side=60, channels=channels)
    assert_holds(small, split, 60)
    assert min(small.pixels(0).shape[:2]) == 48


def test_nothing_is_decoded_twice(paths: list[Path], root: Path) -> None:
    split = of_files(paths)
    build(split, root)
    before = files_in(root)
    cache, decoded = build(split, root)
    assert decoded == 0
    assert files_in(root) == before
    assert_holds(cache, split)


def test_only_what_changed_or_is_new_is_decoded_again(paths: list[Path], root: Path) -> None:
    build(of_files(paths[:15]), root)
    paths[3].write_bytes(photograph(99, 80, 40))  # another size
    status = paths[7].stat()
    os.utime(paths[7], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    cache, decoded = build(of_files(paths), root)
    assert decoded == 2 + 5
    assert_holds(cache, of_files(paths))
    assert build(of_files(paths), root)[1] == 0


def test_parts_of_a_folder_share_what_they_have_in_common(paths: list[Path], root: Path) -> None:
    build(of_files(paths[:12]), root)
    chosen = [paths[place] for place in (15, 3, 11, 3, 0, 15)]
    cache, decoded = build(of_files(chosen), root)
    assert decoded == 1  # 15, once
    assert_holds(cache, of_files(chosen))


def test_a_selection_of_a_table_is_in_its_own_order(paths: list[Path], root: Path) -> None:
    split = of_files(paths)
    build(split, root)
    chosen = split.select([17, 2, 9])
    cache, decoded = build(chosen, root)
    assert decoded == 0
    assert_holds(cache, chosen)


def test_images_within_a_table_are_known_by_their_bytes(root: Path) -> None:
    def table(seeds: list[int]) -> Split:
        rows = make_rows(image_structs(encoded=[photograph(seed) for seed in seeds]), [0] * len(seeds), ["a"])
        return Split(rows, ("a",), "pictures/train")

    assert build(table([0, 1, 2, 1]), root)[1] == 3
    cache, decoded = build(table([2, 5, 0]), root)
    assert decoded == 1
    assert_holds(cache, table([2, 5, 0]))


def test_images_within_tar_files_are_known_by_their_place(tmp_path: Path, root: Path) -> None:
    shard = tmp_path / "shards" / "train-0.tar"

    def write(seeds: list[int]) -> Split:
        members = {}
        for number, seed in enumerate(seeds):
            members |= {f"{number}.jpg": photograph(seed), f"{number}.cls": b"0"}
        write_shard(shard, members)
        return read_source(str(shard.parent)).training

    split = write([0, 1, 2])
    cache, decoded = build(split, root)
    assert decoded == 3
    assert_holds(cache, split)
    assert build(split, root)[1] == 0
    os.utime(shard, ns=(1, 1))
    split = write([3, 4])
    cache, decoded = build(split, root)
    assert decoded == 2
    assert_holds(cache, split)


def test_what_was_superseded_leaves_the_disk(paths: list[Path], root: Path) -> None:
    for turn in range(4):
        for number, path in enumerate(paths):
            path.write_bytes(photograph(100 * turn + number, 60 + turn))
        cache, decoded = build(of_files(paths), root)
        assert decoded == 20
        assert_holds(cache, of_files(paths))
        assert len(files_in(root)) == 3  # a part of two files, and the lock


def test_a_cache_is_made_of_several_parts(paths: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_parts, "PART_BYTES", 12_000)
    cache, _ = build(of_files(paths), root)
    assert len(files_in(root)) > 5
    assert_holds(cache, of_files(paths))


@pytest.mark.parametrize("suffix", [".pixels", ".index.npy"])
def test_a_damaged_part_is_made_again(
    paths: list[Path], root: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_parts, "PART_BYTES", 20_000)
    build(of_files(paths), root)
    damaged = sorted(root.rglob("*" + suffix))[1]
    os.truncate(damaged, damaged.stat().st_size - 100)
    cache, decoded = build(of_files(paths), root)
    assert 0 < decoded < 20
    assert_holds(cache, of_files(paths))
    assert damaged.name not in files_in(root)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_decoded_is_named(paths: list[Path], root: Path, workers: int) -> None:
    whole = paths[13].read_bytes()
    paths[13].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"13\.jpg: the image is damaged"):
        build(of_files(paths), root, workers=workers)
    assert not [name for name in files_in(root) if name.endswith(".tmp")]
    paths[13].write_bytes(whole)
    assert_holds(build(of_files(paths), root)[0], of_files(paths))


def test_a_missing_file_is_named(paths: list[Path], root: Path) -> None:
    paths[4].unlink()
    with pytest.raises(DataError, match=r"4\.jpg: there is no such file"):
        plan_cache(of_files(paths), SIDE, root=root)


def _build_at_once(paths: list[Path], root: Path, barrier: object, counts: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    counts.put(build(of_files(paths), root)[1])  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and needs locks")
def test_processes_that_begin_at_once_build_it_once(paths: list[Path], root: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, counts = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_build_at_once, args=(paths, root, barrier, counts)) for _ in range(3)]
    for process in processes:
        process.start()
    decoded = sorted(counts.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    assert decoded == [0, 0, 20]
    assert_holds(build(of_files(paths), root)[0], of_files(paths))


BUILDER = """
import sys, time
from pathlib import Path
from neocog.data import cache_parts
from neocog.data.cache import open_cache
from neocog.data.rows import image_structs, make_rows
from neocog.data.table import Split

cache_parts.PART_BYTES = 20_000

def slowly(done, of):
    print(done, flush=True)
    time.sleep(0.2)

paths = sorted(str(path) for path in Path(sys.argv[1]).iterdir())
split = Split(make_rows(image_structs(paths=paths), [0] * len(paths), ["a"]), ("a",), "photos/train")
open_cache(split, 32, root=Path(sys.argv[2]), progress=slowly, workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_build_that_is_broken_off_goes_on_where_it_was(
    paths: list[Path], root: Path, workers: int, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", BUILDER, str(paths[0].parent), str(root), str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 16:
        pass
    process.send_signal(number)
    process.wait()
    process.stdout.close()
    time.sleep(0.1)
    cache, decoded = build(of_files(paths), root)
    assert 0 < decoded < 20
    assert_holds(cache, of_files(paths))
    assert not [name for name in files_in(root) if name.endswith(".tmp")]


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing_broken(
    paths: list[Path], root: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_parts, "PART_BYTES", 20_000)
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(_files.os, "fsync", full)
        with pytest.raises(StorageError, match=r"no space left.*NEOCOG_CACHE.*cache=false") as caught:
            build(of_files(paths), root)
    assert "\n" not in str(caught.value)
    names = files_in(root)
    assert not [name for name in names if name.endswith(".tmp")]
    assert len([name for name in names if name.endswith(".pixels")]) == len(
        [name for name in names if name.endswith(".index.npy")]
    )
    cache, _ = build(of_files(paths), root)
    assert_holds(cache, of_files(paths))


def test_a_disk_that_is_too_small_is_said_before_decoding(
    paths: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(paths[0].parent)._replace(free=50_000)
    monkeypatch.setattr(cache_build.shutil, "disk_usage", lambda folder: usage)
    plan = plan_cache(of_files(paths), SIDE, root=root)
    assert (plan.images, plan.missing, plan.free_bytes) == (20, 20, 50_000)
    assert not plan.modest
    with pytest.raises(StorageError, match=r"too small.*20 of 20 photographs.*cache=false"):
        build(of_files(paths), root)
    assert [name for name in files_in(root) if name != "lock"] == []


def test_a_folder_that_cannot_be_made_is_one_clear_error(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        build(of_files(paths), tmp_path / "file" / "caches")


def test_a_plan_says_what_is_missing_and_how_much_it_takes(paths: list[Path], root: Path) -> None:
    plan = plan_cache(of_files(paths), SIDE, root=root)
    assert plan.missing == plan.images == 20
    assert plan.modest
    cache, _ = build(of_files(paths), root)
    assert plan.missing_bytes == cache.bytes
    assert str(plan).startswith("20 of 20 photographs to decode into ")
    assert str(cache.folder) in str(plan)
    assert "20 photographs decoded at 32 pixels, 0.1 MB, in " + str(cache.folder) in str(cache)
    later = plan_cache(of_files(paths), SIDE, root=root)
    assert (later.missing, later.missing_bytes, later.modest) == (0, 0, True)


def test_colours_and_resolutions_do_not_mix(paths: list[Path], root: Path) -> None:
    split = of_files(paths)
    first, _ = build(split, root)
    for side, channels in ((SIDE, 1), (40, 3)):
        other, decoded = build(split, root, side=side, channels=channels)
        assert decoded == 20
        assert other.folder != first.folder
    assert first.folder.name.startswith("photos-32-rgb-")


def test_a_cache_that_is_removed_while_it_is_read_can_still_be_read(paths: list[Path], root: Path) -> None:
    split = of_files(paths)
    cache, _ = build(split, root)
    assert remove_caches(root) > cache.bytes
    assert not root.exists()
    assert_holds(cache, split)
    assert build(split, root)[1] == 20
    assert remove_caches(root / "nothing") == 0


def test_a_cache_can_be_sent_to_another_process(paths: list[Path], root: Path) -> None:
    cache, _ = build(of_files(paths), root)
    sent = pickle.dumps(cache)
    assert len(sent) < cache.bytes / 2
    assert torch.equal(pickle.loads(sent).pixels(5), cache.pixels(5))


def test_writing_into_pixels_does_not_reach_the_disk(paths: list[Path], root: Path) -> None:
    cache, _ = build(of_files(paths), root)
    before = cache.pixels(2).clone()
    cache.pixels(2).zero_()
    assert torch.equal(build(of_files(paths), root)[0].pixels(2), before)


def test_the_environment_says_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.delenv("NEOCOG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "neocog" / "photographs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "neocog" / "photographs"


@pytest.mark.parametrize(
    ("size", "crop_pct", "side"),
    [((224, 224), 0.875, 256), ((224, 224), 0.95, 256), ((224, 224), 0.8, 280), ((160, 192), 1.0, 220)],
)
def test_photographs_are_kept_at_what_evaluation_resizes_to(size: tuple[int, int], crop_pct: float, side: int) -> None:
    assert cache_side(Preprocessing(size=size, crop_pct=crop_pct, mean=(0.5,) * 3, std=(0.5,) * 3)) == side
