"""Small images: decoded once, kept as one uint8 tensor on the training device, varied there in batches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from neocog.data.augment import Augmentation, augment, draw
from neocog.data.keys import hash_key
from neocog.data.preprocess import Preprocessing
from neocog.data.streaming import Request, StreamedImages
from neocog.data.table import Split

_BLOCK = 512  # images that a process decodes at once
_FEW = 4 * _BLOCK  # so many are decoded before other processes have been started

_decoded: WeakKeyDictionary[Split, dict[Preprocessing, Tensor]] = WeakKeyDictionary()


def decode(split: Split, preprocessing: Preprocessing) -> Tensor:
    """Decode a whole split as evaluation sees it, not yet normalised: uint8 `(N, C, H, W)` on the CPU.

    All processor cores take part. The tensor is kept as long as the split is, so that measuring its mean and
    training on it decode once. Nobody may write to it.

    Raises:
        DataError: an image cannot be decoded; the message names it.
    """
    kept = _decoded.setdefault(split, {})
    look = preprocessing.model_copy(update={"mean": (), "std": ()})  # plays no part in decoding
    if look not in kept:
        pixels = torch.empty((len(split), preprocessing.channels, *preprocessing.size), dtype=torch.uint8)
        places = [range(first, min(first + _BLOCK, len(split))) for first in range(0, len(split), _BLOCK)]
        images = StreamedImages(split, preprocessing, workers=0 if len(split) <= _FEW else _cores())
        blocks = images.fetch([Request(place, None) for place in places])
        for place, block in zip(places, blocks, strict=True):
            pixels[place.start : place.stop] = block
        kept[look] = pixels
    return kept[look]


class MemoryImages:
    """Decoded images of one size.

    Args:
        pixels: uint8 `(N, C, H, W)` on the training device, from `decode`.
        preprocessing: gives the resampling filter.
        augmentation: how requests with a key vary the images; None where there will be none.
    """

    def __init__(self, pixels: Tensor, preprocessing: Preprocessing, augmentation: Augmentation | None = None) -> None:
        self._pixels, self._preprocessing, self._augmentation = pixels, preprocessing, augmentation

    def fetch(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Yield a uint8 batch `(N, C, H, W)` on the pixels' device for each request, in their order."""
        for request in requests:
            indices = torch.tensor(request.indices, dtype=torch.int64)
            batch = self._pixels.index_select(0, indices.to(self._pixels.device))
            if request.key is not None and self._augmentation is not None:
                draws = draw(hash_key(*request.key, indices), self._augmentation)
                batch = augment(batch, draws, self._augmentation, self._preprocessing.interpolation)
            yield batch

    def close(self) -> None:
        """Do nothing: there are no workers to end."""


def _cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
