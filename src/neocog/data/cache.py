"""Photographs decoded once: a cache on disk that every run, worker and process reads its random crops from.

A photograph is kept upright, as uint8, with its shorter side at `cache_side` pixels, and never enlarged. It is known by
its file's path, size and modification time; an image within a table by its bytes. So a file that was changed is decoded
again, a new one is added, and runs on different parts of a folder share what they have in common.

The cache of a folder of photographs is itself a folder in `~/.cache/neocog/photographs`, or in the one that the
environment variable NEOCOG_CACHE names. It can be removed at any time; runs that are reading it go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from neocog.data.augment import Augmentation, Interpolation
from neocog.data.cache_build import Builder, CachePlan, Progress, gigabytes
from neocog.data.cache_folders import ADVICE, cache_root, make_folder, remove_caches
from neocog.data.cache_parts import Parts
from neocog.data.crops import REFERENCE_SIDE
from neocog.data.decoding import on_pixels, resize_box
from neocog.data.preprocess import Preprocessing
from neocog.data.table import Split
from neocog.errors import StorageError

__all__ = [
    "CachePlan",
    "PhotoCache",
    "cache_root",
    "cache_side",
    "make_folder",
    "open_cache",
    "plan_cache",
    "remove_caches",
]

LEAST = 8 / 7
"""Shorter side of a cached photograph, as a multiple of the input's: 256 for 224, as in the papers since AlexNet."""

_ATTEMPTS = 5  # at opening a cache from which other processes remove what they have no use for


class PhotoCache:
    """Decoded photographs of a split, in its order; made by `open_cache`.

    Args:
        parts: the files.
        rows: of the photographs in `parts.entries`.
        side: their shorter side.
        channels: 3 for RGB, 1 for grey.

    Raises:
        RuntimeError, OSError: a part has been removed; see `Parts.pixels`.

    Attributes:
        folder: where they are.
        side: shorter side in pixels; photographs that were smaller kept their size.
        channels: 3 for RGB, 1 for grey.
        sizes: int64 `(N, 2)`: height and width of the originals, upright.
    """

    def __init__(self, parts: Parts, rows: npt.NDArray[np.int64], side: int, channels: int) -> None:
        self.folder, self.side, self.channels = parts.folder, side, channels
        entries = parts.entries[rows]
        self.sizes = np.stack([entries["full_height"], entries["full_width"]], 1).astype(np.int64)
        self._shapes = np.stack([entries["height"], entries["width"]], 1).astype(np.int64)
        self._offsets, self._part = entries["offset"], parts.part[rows]
        self._parts = parts
        self._pixels = {part: parts.pixels(part) for part in np.unique(self._part).tolist()}

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def bytes(self) -> int:
        """What the split's photographs take on disk."""
        return int(self._shapes.prod(1).sum()) * self.channels

    def pixels(self, index: int) -> Tensor:
        """Return photograph `index` of the split, uint8 `(H, W, channels)`, read from the disk when it is looked at."""
        height, width = self._shapes[index].tolist()
        first = int(self._offsets[index])
        flat = self._pixels[int(self._part[index])][first : first + height * width * self.channels]
        return flat.view(height, width, self.channels)

    def crop(self, index: int, box: Sequence[float], size: tuple[int, int], interpolation: Interpolation) -> Tensor:
        """Return a box of photograph `index` resized to `size`: uint8 `(C, H, W)`.

        Args:
            index: of the photograph in the split.
            box: top, left, height and width in pixels of the original; its edges are rounded to the cache's pixels.
            size: height and width of the result.
            interpolation: resampling filter, antialiased where it shrinks.
        """
        pixels = self.pixels(index)
        return resize_box(pixels, on_pixels(box, self.sizes[index].tolist(), pixels), size, interpolation)

    def __str__(self) -> str:
        return (
            f"{len(self):,} photographs decoded at {self.side} pixels, {gigabytes(self.bytes)}, in {self.folder} "
            "(to remove it, delete that folder)"
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pixels = {part: self._parts.pixels(part) for part in np.unique(self._part).tolist()}


def cache_side(preprocessing: Preprocessing, augmentation: Augmentation | None = None) -> int:
    """Return the shorter side at which photographs are kept for an input, in pixels.

    It is the one to which evaluation resizes them before the centre crop, beyond which a network never sees anything
    when it is used; and never less than 8/7 of the input. The default, 256 for an input of 224, takes a quarter of a
    megabyte for a photograph of 4 : 3. Crops of a given scale, `crop="scale"`, need the largest of theirs: 512 for
    sides of 256 to 512 pixels.
    """
    longest = max(preprocessing.size)
    sides = [longest / preprocessing.crop_pct, longest * LEAST]
    if augmentation is not None and augmentation.crop == "scale":
        sides.append(augmentation.sides[1] * min(preprocessing.size) / REFERENCE_SIDE)
    return ceil(max(sides) - 1e-9)


def plan_cache(split: Split, side: int, *, channels: int = 3, root: Path | None = None) -> CachePlan:
    """Return what `open_cache` would have to do; the arguments are its own.

    Raises:
        DataError: a file is not there.
        StorageError: the folder cannot be read.
    """
    return Builder(split, side, channels, root or cache_root()).plan()


def open_cache(
    split: Split,
    side: int,
    *,
    channels: int = 3,
    workers: int = 0,
    root: Path | None = None,
    progress: Progress | None = None,
    waiting: Callable[[], None] | None = None,
) -> PhotoCache:
    """Return the cache of a split's photographs, after decoding those that it lacks.

    Where several processes want the same one, the first builds it, and the others wait. A build that is broken off
    goes on where it was.

    Args:
        split: the photographs.
        side: see `cache_side`.
        channels: 3 for RGB, 1 for grey.
        workers: processes that decode; 0 decodes in this one.
        root: the folder of all caches; None for `cache_root()`.
        progress: is told how many photographs have been decoded.
        waiting: is called where another process builds the cache, before this one waits for it.

    Raises:
        DataError: a photograph cannot be decoded; the message names it.
        StorageError: the disk is full, the folder cannot be written, or other processes keep removing its parts.
    """
    builder = Builder(split, side, channels, root or cache_root())
    reason = ""
    for _ in range(_ATTEMPTS):
        if len(builder.missing()):
            builder.build(workers, progress, waiting)
        try:
            return PhotoCache(builder.parts, builder.rows(), side, channels)
        except (OSError, RuntimeError) as error:  # another process has removed a part since
            reason = str(error).partition("\n")[0]
            builder.refresh()
    raise StorageError(f"cannot read the cache {builder.parts.folder}: {reason}; {ADVICE}")
