"""Building a cache: which photographs it lacks, what they will take, and decoding them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from neocog.data.cache_folders import ADVICE, caching, existing, folder_name, require_writable
from neocog.data.cache_parts import Decoded, Parts
from neocog.data.decoding import Photograph, prepare_decoder, shrunk_size
from neocog.data.preprocess import open_image
from neocog.data.rows import encoded_image, image_header
from neocog.data.table import Split
from neocog.data.workers import Workers
from neocog.errors import DataError, StorageError

SHARE = 0.1
"""Of the free disk: what a cache may take unasked."""

Progress = Callable[[int, int], None]
"""Is told how many photographs have been decoded, and of how many."""

_SAMPLE = 256  # photographs whose headers tell how large a cache becomes
_ROWS = 4096  # rows of the table that are looked at together where they name files
_ENCODED_ROWS = 64  # and where they hold the images, of which each may take megabytes
_BLOCK = 8  # photographs that a worker decodes for one request

_Block = list[tuple[Tensor, tuple[int, int]]]


@dataclass(frozen=True)
class CachePlan:
    """What a cache of a split's photographs takes, before it is built.

    Attributes:
        folder: where it is, or will be.
        images: photographs of the split.
        missing: those that are still to be decoded.
        missing_bytes: what they will take on disk, estimated from a sample.
        free_bytes: what is free on that disk.
    """

    folder: Path
    images: int
    missing: int
    missing_bytes: int
    free_bytes: int

    @property
    def modest(self) -> bool:
        """Whether what is missing takes less than a tenth of the free disk, so that nobody need be asked."""
        return self.missing_bytes < SHARE * self.free_bytes

    def require_folder(self) -> None:
        """Make the folder, and try to write into it, where photographs are missing.

        Raises:
            StorageError: it cannot be made or written.
        """
        if self.missing:
            require_writable(self.folder)

    def __str__(self) -> str:
        return (
            f"{self.missing:,} of {self.images:,} photographs to decode into {self.folder}: about "
            f"{gigabytes(self.missing_bytes)} of {gigabytes(self.free_bytes)} free"
        )


class Builder:
    """A split's photographs, and the parts that hold some of them.

    Args:
        split: the photographs.
        side: their shorter side, in pixels.
        channels: 3 for RGB, 1 for grey.
        root: the folder of all caches.

    Attributes:
        parts: the files of this cache.

    Raises:
        DataError: a file is not there.
        StorageError: the folder cannot be read.
    """

    def __init__(self, split: Split, side: int, channels: int, root: Path) -> None:
        self._split, self._side, self._channels = split, side, channels
        self._places, self._versions, common = _identities(split)
        name = os.path.basename(common) or "photographs"
        digest = f"{_hash(common.encode('utf-8', 'surrogateescape')):016x}"[:8]
        folder = root / folder_name(name, side, channels, digest)
        with caching(folder):
            self.parts = Parts(folder, channels)

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the row of each photograph in the parts; -1 where it is missing."""
        return self.parts.find(self._places, self._versions)

    def missing(self) -> npt.NDArray[np.int64]:
        """Return which photographs are missing; of several that are the same one, the first."""
        missing = np.flatnonzero(self.rows() < 0)
        same = np.stack([self._places[missing], self._versions[missing]], 1)
        return missing[np.sort(np.unique(same, axis=0, return_index=True)[1])]

    def plan(self) -> CachePlan:
        """Say what is to do."""
        missing = self.missing()
        sample = missing[np.unique(np.linspace(0, len(missing) - 1, _SAMPLE).astype(int))] if len(missing) else missing
        with caching(self.parts.folder):
            free = shutil.disk_usage(existing(self.parts.folder)).free
        return CachePlan(
            folder=self.parts.folder,
            images=len(self._split),
            missing=len(missing),
            missing_bytes=ceil(self._bytes(sample.tolist()) * len(missing)),
            free_bytes=free,
        )

    def refresh(self) -> None:
        """Look again which photographs are there."""
        with caching(self.parts.folder):
            self.parts.refresh()

    def build(self, workers: int, progress: Progress | None, waiting: Callable[[], None] | None = None) -> None:
        """Decode what is missing, unless another process is quicker."""
        with caching(self.parts.folder), self.parts.alone(waiting):
            self.parts.tidy(changed=self._places[self.missing()])
            missing = self.missing()
            if not len(missing):
                return
            plan = self.plan()
            if plan.missing_bytes > plan.free_bytes:
                raise StorageError(f"the disk is too small for a cache: {plan}; free some space, or {ADVICE}")
            prepare_decoder()
            decoders = Workers(_Decoder(self._split, self._side, self._channels), workers)
            try:
                self.parts.add(self._decoded(missing, decoders, progress))
            finally:
                decoders.close()

    def _decoded(
        self, missing: npt.NDArray[np.int64], decoders: Workers[_Block], progress: Progress | None
    ) -> Iterator[Decoded]:
        requests = [missing[first : first + _BLOCK].tolist() for first in range(0, len(missing), _BLOCK)]
        done = 0
        for request, block in zip(requests, decoders.fetch(requests), strict=True):
            for index, (pixels, full) in zip(request, block, strict=True):
                yield Decoded(int(self._places[index]), int(self._versions[index]), pixels, full)
            done += len(request)
            if progress is not None:
                progress(done, len(missing))

    def _bytes(self, sample: list[int]) -> float:
        """Return the mean bytes of some photographs in the cache, from their headers."""
        taken = []
        for index in sample:
            try:
                (height, width), _ = image_header(encoded_image(self._split.rows[index]))
            except (OSError, SyntaxError, ValueError):
                continue  # reported by name when it is decoded
            tall, wide = shrunk_size(height, width, self._side)
            taken.append(tall * wide * self._channels)
        return float(np.mean(taken)) if taken else 0.0


class _Decoder(Dataset[_Block | DataError]):
    """Decodes photographs for the cache; this is what runs in a worker."""

    def __init__(self, split: Split, side: int, channels: int) -> None:
        self._split, self._side, self._channels = split, side, channels

    def __getitem__(self, indices: list[int]) -> _Block | DataError:
        """Return pixels uint8 `(H, W, C)` and the original's height and width of each, or the error."""
        block = []
        for index in indices:
            try:
                photograph = Photograph(encoded_image(self._split.rows[index]), self._channels)
                block.append((photograph.shrunk(self._side), photograph.size))
            except (DataError, OSError) as error:
                return self._named(index, error)
        return block

    def _named(self, index: int, error: DataError | OSError) -> DataError:
        try:
            self._split.image(index, self._channels)
        except (DataError, OSError) as again:
            error = again
        if isinstance(error, DataError):
            return error
        return DataError(f"{self._split.source(index)}: cannot be read ({error.strerror or error})")


class _Identities(NamedTuple):
    """Where each photograph of a split is, what is there, both as hashes, and what the places have in common."""

    places: npt.NDArray[np.uint64]
    versions: npt.NDArray[np.uint64]
    common: str


_kept: WeakKeyDictionary[Split, _Identities] = WeakKeyDictionary()


def _identities(split: Split) -> _Identities:
    """Return what tells a split's photographs from others.

    Where the table holds all images they are read once, and the result is kept as long as the split is. Files are
    looked at each time, since they may have changed.

    Raises:
        DataError: a file is not there.
    """
    if split in _kept:
        return _kept[split]
    places, versions, folders = np.empty(len(split), np.uint64), np.empty(len(split), np.uint64), set()
    rows = split.rows.with_format("arrow")
    encoded = _encoded(split)
    block = _ENCODED_ROWS if encoded else _ROWS
    stats: dict[str, bytes] = {}
    for first in range(0, len(split), block):
        for index, row in enumerate(rows[first : first + block].to_pylist(), first):
            image = row["image"]
            if image["bytes"] is not None:
                places[index] = versions[index] = _hash(image["bytes"])
                continue
            path = os.path.abspath(image["path"])
            if path not in stats:
                stats[path] = _version(path)
            within = f"\0{row['offset']}\0{row['size']}" if "offset" in row else ""
            places[index] = _hash((path + within).encode("utf-8", "surrogateescape"))
            versions[index] = _hash(stats[path])
            folders.add(os.path.dirname(path))
    common = os.path.commonpath(folders) if folders else split.origin or split.name
    found = _Identities(places, versions, common)
    if not stats:
        _kept[split] = found
    return found


def _encoded(split: Split) -> bool:
    """Return whether some images lie in the table itself."""
    column = split.rows.data.column("image")
    return any(chunk.field("bytes").null_count < len(chunk) for chunk in column.chunks)


def _version(path: str) -> bytes:
    try:
        status = os.stat(path)
    except OSError as error:
        open_image(path)  # says what is wrong
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return f"{status.st_size}\0{status.st_mtime_ns}".encode()


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def gigabytes(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
