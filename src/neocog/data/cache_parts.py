"""The files of a cache: parts that are written once, whole, and never changed.

A part is two files, the pixels of many photographs one after another, and an index of them; it is there when its index
is. A build writes its photographs in several parts, each of which takes its name in one step, so that a build that is
killed has lost no more than the part that it was at. One process writes at a time; readers need no lock, since what
they have mapped stays theirs even when the file is removed.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neocog._files import atomic_file, is_temporary, remove_temporaries, storing

try:
    import fcntl
except ImportError:  # Windows: there, two processes that begin at once both build
    fcntl = None  # type: ignore[assignment]

PART_BYTES = 1 << 28
"""Pixels of one part, about: a second or two of work."""

ENTRY = np.dtype(
    [
        ("place", "<u8"),  # where the photograph is: a hash of its path
        ("version", "<u8"),  # what is there: a hash of size and modification time
        ("offset", "<i8"),
        ("height", "<i4"),
        ("width", "<i4"),
        ("full_height", "<i4"),
        ("full_width", "<i4"),
    ]
)
"""One photograph in an index: where its pixels begin in the part, their size, and the size of the original."""

Entries = npt.NDArray[np.void]

_PIXELS, _INDEX, _LOCK = ".pixels", ".index.npy", "lock"
_FILE = re.compile(rf"\d{{6,}}-[0-9a-f]{{8}}({re.escape(_PIXELS)}|{re.escape(_INDEX)})")


class Decoded(NamedTuple):
    """A photograph on its way into a cache.

    Attributes:
        place: where it is; see `ENTRY`.
        version: what is there.
        pixels: uint8 `(H, W, C)`.
        full: height and width of the original, upright.
    """

    place: int
    version: int
    pixels: Tensor
    full: tuple[int, int]


class Parts:
    """The parts in one folder, in the order in which they were written.

    Args:
        folder: which need not exist.
        channels: bytes of a pixel.

    Attributes:
        entries: `ENTRY` of all photographs, those of the last part last.
        part: `(N,)`: the number of the part that each is in.

    Raises:
        OSError: the folder cannot be read.
    """

    def __init__(self, folder: Path, channels: int) -> None:
        self.folder, self._channels = folder, channels
        self.refresh()

    def refresh(self) -> None:
        """Read the indices anew.

        Raises:
            OSError: the folder cannot be read; one that does not exist holds no parts.
        """
        self._names: list[str] = []
        self._sizes: list[int] = []
        indices = []
        for name in sorted(name.removesuffix(_INDEX) for name in self._listed() if name.endswith(_INDEX)):
            index = self._index(self.folder / (name + _INDEX), self.folder / (name + _PIXELS))
            if index is not None:
                indices.append(index)
                self._names.append(name)
                self._sizes.append(self._end(index))
        self.entries: Entries = np.concatenate(indices) if indices else np.empty(0, ENTRY)
        self.part = np.repeat(np.arange(len(indices)), [len(index) for index in indices])

    def pixels(self, part: int) -> Tensor:
        """Return the pixels of a part, flat uint8, mapped from the disk and read when they are looked at.

        Raises:
            RuntimeError: PyTorch cannot map the file: the part has been removed, or there is no more memory to map.
            OSError: the system refuses it.
        """
        return torch.from_file(str(self._file(part, _PIXELS)), shared=False, size=self._sizes[part], dtype=torch.uint8)

    def find(self, places: npt.NDArray[np.uint64], versions: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Return the row in `entries` of each photograph; -1 where it is not there in this version."""
        keys = _join(self.entries["place"], self.entries["version"])
        order = np.argsort(keys, kind="stable")
        wanted = _join(places, versions)
        at = np.searchsorted(keys, wanted, sorter=order)
        rows = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(len(wanted), np.int64)
        found = (keys[rows] == wanted) if len(order) else np.zeros(len(wanted), bool)
        return np.where(found, rows, -1)

    @contextmanager
    def alone(self, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Wait until nobody else writes in this folder, and keep others from it.

        Args:
            waiting: is called once if somebody else does.

        Raises:
            StorageError: the folder cannot be made, written or locked.
        """
        while True:
            with storing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                file = (self.folder / _LOCK).open("ab")
            with file:
                if not self._lock(file, wait=False):
                    if waiting is not None:
                        waiting()
                    waiting = None
                    self._lock(file, wait=True)
                if _is_at(self.folder / _LOCK, file):  # and the folder was not removed while this one waited
                    self.refresh()
                    yield
                    return

    def tidy(self, changed: npt.NDArray[np.uint64]) -> None:
        """Remove what a killed build left, and parts of which less than half is of use. Only for who is `alone`.

        Args:
            changed: places whose photographs are about to be read again.
        """
        remove_temporaries(self.folder)
        newest = np.zeros(len(self.entries), bool)
        # The first of each place, seen from the end, is the one that was written last.
        newest[len(newest) - 1 - np.unique(self.entries["place"][::-1], return_index=True)[1]] = True
        newest &= ~np.isin(self.entries["place"], changed)
        for part, name in enumerate(self._names):
            if newest[self.part == part].mean() < 0.5:
                self._remove(name)
        self.refresh()
        whole = {name + suffix for name in self._names for suffix in (_PIXELS, _INDEX)}
        for path in self.folder.iterdir():
            if path.name.endswith((_PIXELS, _INDEX)) and path.name not in whole:
                path.unlink(missing_ok=True)

    def add(self, photographs: Iterable[Decoded]) -> None:
        """Write photographs as new parts. Only for who is `alone`.

        Raises:
            StorageError: the disk is full or cannot be written; parts that were finished before stay.
        """
        iterator = iter(photographs)
        first = next(iterator, None)
        number = max((int(name.split("-")[0]) for name in self._names), default=0)
        while first is not None:
            number += 1
            # The second half of the name is for a system without locks, on which two may write at once.
            name = f"{number:06d}-{secrets.token_hex(4)}"
            first = self._write(name, first, iterator)
        self.refresh()

    def _write(self, name: str, first: Decoded, others: Iterator[Decoded]) -> Decoded | None:
        """Write one part, and return the first photograph of the next."""
        rows, offset = [], 0
        following: Decoded | None = first
        try:
            with atomic_file(self.folder / (name + _PIXELS)) as file:
                while following is not None and offset < PART_BYTES:
                    height, width = following.pixels.shape[:2]
                    rows.append((following.place, following.version, offset, height, width, *following.full))
                    offset += file.write(following.pixels.numpy().data)
                    following = next(others, None)
            with atomic_file(self.folder / (name + _INDEX)) as file:
                np.save(file, np.array(rows, ENTRY))
        except BaseException:
            self._remove(name)
            raise
        return following

    def _lock(self, file: IO[bytes], *, wait: bool) -> bool:
        """Return whether this process has the lock, which ends with the process, however that ends."""
        if fcntl is None:
            return True
        with storing(self.folder):
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def _listed(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _index(self, path: Path, pixels: Path) -> Entries | None:
        """Read the index of a part; None where the part is damaged, which is as if it were not there."""
        with suppress(OSError, ValueError, EOFError):
            index = np.load(path)
            if index.dtype == ENTRY and len(index) and pixels.stat().st_size == self._end(index):
                return index  # type: ignore[no-any-return]
        return None

    def _end(self, index: Entries) -> int:
        last = index[-1]
        return int(last["offset"]) + int(last["height"]) * int(last["width"]) * self._channels

    def _file(self, part: int, suffix: str) -> Path:
        return self.folder / (self._names[part] + suffix)

    def _remove(self, name: str) -> None:
        for suffix in (_INDEX, _PIXELS):  # the index first: without it the part is not there
            with suppress(PermissionError):  # Windows keeps what somebody has mapped
                (self.folder / (name + suffix)).unlink(missing_ok=True)


def is_part_of_cache(path: Path) -> bool:
    """Return whether a file is named as those in a cache's folder are."""
    ours = path.name == _LOCK or _FILE.fullmatch(path.name) is not None or is_temporary(path)
    return ours and path.is_file() and not path.is_symlink()


def _join(places: npt.NDArray[np.uint64], versions: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return one number for a place and what is there; two of a million agree by chance once in 10^8 times."""
    return places * np.uint64(0x9E3779B97F4A7C15) ^ versions


def _is_at(path: Path, file: IO[bytes]) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False
