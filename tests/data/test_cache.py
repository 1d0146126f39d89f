"""The cache of decoded photographs: what is in it, when it is built, and that nothing breaks it."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import encoded, picture, write_shard
from PIL import Image

from neocog import _files
from neocog.data import cache_build, cache_parts
from neocog.data.augment import Augmentation
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


def of_bytes(encoded_images: list[bytes], name: str = "pictures/train") -> Split:
    rows = make_rows(image_structs(encoded=encoded_images), [0] * len(encoded_images), ["a"])
    return Split(rows, ("a",), name)


@contextmanager
def powerless() -> Iterator[None]:
    """Be somebody whom permissions bind."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


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
import signal, sys, time
from pathlib import Path
from neocog.data import cache_parts
from neocog.data.cache import open_cache
from neocog.data.rows import image_structs, make_rows
from neocog.data.table import Split

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
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
    with pytest.raises(StorageError, match=r"cannot write.*NEOCOG_CACHE.*cache=false") as caught:
        build(of_files(paths), tmp_path / "file" / "caches")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("root", ["x" * 300, "y/" + "x" * 300 + "/z"])
def test_a_name_that_no_system_takes_is_one_clear_error(paths: list[Path], tmp_path: Path, root: str) -> None:
    with pytest.raises(StorageError, match=r"file name too long.*NEOCOG_CACHE.*cache=false"):
        plan_cache(of_files(paths), SIDE, root=tmp_path / root).require_folder()
    with pytest.raises(StorageError, match=r"file name too long.*NEOCOG_CACHE.*cache=false") as caught:
        build(of_files(paths), tmp_path / root)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_without_permission_is_one_clear_error(mode: int) -> None:
    split = of_bytes([photograph(seed) for seed in range(3)])
    with tempfile.TemporaryDirectory() as place:
        closed = Path(place, "closed")
        closed.mkdir()
        os.chmod(place, 0o755)
        os.chmod(closed, mode if os.geteuid() == 0 else mode & ~0o700)
        plan_cache(split, SIDE, root=Path(place, "other"))  # imports what is needed
        with powerless(), pytest.raises(StorageError, match=r"permission denied.*NEOCOG_CACHE.*cache=false") as caught:
            plan_cache(split, SIDE, root=closed / "caches").require_folder()
        with powerless(), pytest.raises(StorageError, match=r"permission denied.*NEOCOG_CACHE.*cache=false"):
            open_cache(split, SIDE, root=closed / "caches")
        os.chmod(closed, 0o700)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
def test_a_cache_that_is_complete_need_not_be_written() -> None:
    split = of_bytes([photograph(seed) for seed in range(3)])
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        cache, _ = build(split, Path(place))
        os.chmod(cache.folder, 0o755)
        with powerless():
            plan_cache(split, SIDE, root=Path(place)).require_folder()
            assert_holds(build(split, Path(place))[0], split)


def test_the_name_of_a_data_set_may_be_as_long_as_the_system_takes(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / ("é" * 127)
    folder.mkdir()
    (folder / "0.jpg").write_bytes(photograph(0))
    cache, decoded = build(of_files([folder / "0.jpg"]), root)
    assert decoded == 1
    assert cache.folder.name.startswith("é" * 20)
    remove_caches(root)
    assert not root.exists()


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


def test_removing_caches_removes_nothing_else(paths: list[Path], root: Path, tmp_path: Path) -> None:
    cache, _ = build(of_files(paths), root)
    grey, _ = build(of_files(paths), root, channels=1)
    (cache.folder / ".neocog-0123456789abcdef.tmp").write_bytes(b"half")  # a build that was killed
    taken = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    foreign = [
        root / "thesis.tex",
        root / "lock",
        root / "holidays" / "1.jpg",
        root / "000001-0123abcd.pixels",
        root / "model-32-rgb-0123abcd" / "weights.pt",  # named like a cache
        root / "model-32-rgb-0123abcd" / "lock",
        root / "deep-32-grey-0123abcd" / "lock" / "door",
        root / "photos-32-rgb-0123abcd.txt" / "lock",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").write_text("mine")
    (root / "linked-32-rgb-0123abcd").symlink_to(tmp_path / "elsewhere")
    assert remove_caches(root) == taken
    assert not cache.folder.exists()
    assert not grey.folder.exists()
    assert all(path.read_text() == "mine" for path in foreign)
    assert (root / "linked-32-rgb-0123abcd" / "lock").read_text() == "mine"
    assert remove_caches(root) == 0


def test_what_is_no_folder_of_caches_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match=r"cannot remove the caches in .*not a directory"):
        remove_caches(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert remove_caches(tmp_path / "empty") == 0
    assert (tmp_path / "empty").exists()


def test_images_within_a_table_are_hashed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [photograph(seed) for seed in range(5)]
    split, hashed = of_bytes(images), []
    digest = cache_build._hash
    monkeypatch.setattr(cache_build, "_hash", lambda content: hashed.append(content) or digest(content))
    plan_cache(split, SIDE, root=root)
    cache, decoded = build(split, root)
    assert decoded == 5
    assert [content for content in hashed if len(content) > 100] == images
    assert_holds(cache, split)
    assert split in cache_build._kept
    count = len(cache_build._kept)
    del split
    gc.collect()
    assert len(cache_build._kept) < count


def test_a_file_that_changes_under_the_same_split_is_decoded_again(paths: list[Path], root: Path) -> None:
    split = of_files(paths)
    build(split, root)
    paths[5].write_bytes(photograph(77, 90, 41))
    cache, decoded = build(split, root)
    assert decoded == 1
    assert_holds(cache, split)


def test_few_of_a_table_s_images_are_held_at_once(root: Path) -> None:
    generator = np.random.default_rng(0)
    split = of_bytes([generator.bytes(20_000) for _ in range(1000)])
    tracemalloc.start()
    try:
        plan = plan_cache(split, SIDE, root=root)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert plan.missing == 1000
    assert peak < 5_000_000, "of 20 MB"


def test_parts_that_another_process_removes_at_opening_are_made_again(
    paths: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_parts, "PART_BYTES", 20_000)
    build(of_files(paths), root)
    mapped, removed = cache_parts.Parts.pixels, []

    def remove_first(self: cache_parts.Parts, part: int) -> torch.Tensor:
        if part == 1 and len(removed) < 2:
            removed.append(self._names[part])
            self._remove(removed[-1])
        return mapped(self, part)

    monkeypatch.setattr(cache_parts.Parts, "pixels", remove_first)
    cache, decoded = build(of_files(paths), root)
    assert len(set(removed)) == 2
    assert 0 < decoded < 20
    assert_holds(cache, of_files(paths))


def test_parts_that_are_removed_again_and_again_are_one_clear_error(
    paths: list[Path], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = cache_parts.Parts.pixels

    def remove(self: cache_parts.Parts, part: int) -> torch.Tensor:
        self._remove(self._names[part])
        return mapped(self, part)

    monkeypatch.setattr(cache_parts.Parts, "pixels", remove)
    with pytest.raises(StorageError, match=r"cannot read the cache .*NEOCOG_CACHE") as caught:
        build(of_files(paths), root)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks")
def test_who_waits_for_another_process_says_so_once(paths: list[Path], root: Path) -> None:
    folder = plan_cache(of_files(paths), SIDE, root=root).folder
    said, heard = threading.Event(), []

    def wait() -> None:
        heard.append("waiting")
        said.set()

    opened: list[PhotoCache] = []

    def open_it() -> None:
        opened.append(open_cache(of_files(paths), SIDE, root=root, waiting=wait))

    thread = threading.Thread(target=open_it)
    with cache_parts.Parts(folder, 3).alone():
        thread.start()
        assert said.wait(60)
        assert not opened
    thread.join()
    assert heard == ["waiting"]
    assert_holds(opened[0], of_files(paths))
    open_cache(of_files(paths[:3]), SIDE, root=root, waiting=wait)
    assert heard == ["waiting"]


def test_a_tar_file_that_goes_away_is_named(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tmp_path / "shards" / "train-0.tar"
    write_shard(shard, {"0.jpg": photograph(0), "0.cls": b"0", "1.jpg": photograph(1), "1.cls": b"1"})
    split = read_source(str(shard.parent)).training
    monkeypatch.setattr(cache_build, "prepare_decoder", lambda: shard.unlink())
    with pytest.raises(DataError, match=r"train-0\.tar/0\.jpg: cannot be read \(No such file"):
        build(split, root)


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


def test_a_home_that_there_is_not_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOCOG_CACHE", "~nosuchuser/x")
    with pytest.raises(StorageError, match=r"~nosuchuser/x.*NEOCOG_CACHE.*cache=false"):
        cache_root()

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("NEOCOG_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StorageError, match=r"~/\.cache/neocog/photographs.*NEOCOG_CACHE.*cache=false"):
        cache_root()


@pytest.mark.parametrize(
    ("size", "crop_pct", "side"),
    [((224, 224), 0.875, 256), ((224, 224), 0.95, 256), ((224, 224), 0.8, 280), ((160, 192), 1.0, 220)],
)
def test_photographs_are_kept_at_what_evaluation_resizes_to(size: tuple[int, int], crop_pct: float, side: int) -> None:
    assert cache_side(Preprocessing(size=size, crop_pct=crop_pct, mean=(0.5,) * 3, std=(0.5,) * 3)) == side


def test_crops_of_a_given_scale_find_as_many_pixels_as_their_largest_scale_has() -> None:
    look = Preprocessing(size=(224, 224), mean=(0.5,) * 3, std=(0.5,) * 3)
    assert cache_side(look, Augmentation(crop="scale", sides=(256, 512))) == 512
    assert cache_side(look, Augmentation(crop="random_resized", sides=(256, 512))) == 256
