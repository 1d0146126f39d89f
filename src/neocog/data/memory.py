"""Small images: decoded once, kept as one uint8 tensor on the training device, varied there in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from neocog._machine import available_cores
from neocog.data.augment import augment
from neocog.data.preprocess import Preprocessing
from neocog.data.streaming import Look, Request, StreamedImages, request_draws
from neocog.data.table import SMALL_SIDE, Split

_BLOCK = 512  # images that a process decodes at once
_TOGETHER = 1024  # images of several batches that are varied at once
_FEW = 4 * _BLOCK  # so many are decoded before other processes have been started

_decoded: WeakKeyDictionary[Split, dict[Preprocessing, Tensor]] = WeakKeyDictionary()


def is_small(size: tuple[int, int]) -> bool:
    """Return whether images prepared at this (height, width) may be held in memory, if there are not too many."""
    return max(size) <= SMALL_SIDE


def belongs_in_memory(split: Split, size: tuple[int, int]) -> bool:
    """Return whether a split's images are to be decoded once and held in memory.

    Args:
        split: the images; see `Split.small`.
        size: the largest (height, width) at which they are prepared: small images that the network sees much enlarged
            would fill the memory after all.
    """
    return len(split) > 0 and is_small(size) and split.small


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
        images = StreamedImages(split, preprocessing, workers=0 if len(split) <= _FEW else available_cores())
        blocks = images.fetch([Request(place, None) for place in places])
        for place, block in zip(places, blocks, strict=True):
            pixels[place.start : place.stop] = block
        kept[look] = pixels
    return kept[look]


class MemoryImages:
    """Decoded images of one size.

    Batches that follow each other are varied together, up to a block: what an operation costs besides its pixels is
    paid once for many. As each image is varied by its own key, this changes none of them.

    Args:
        pixels: uint8 `(N, C, H, W)` on the training device, from `decode`.
        look: how requests are prepared and varied that do not say so themselves.
    """

    def __init__(self, pixels: Tensor, look: Look) -> None:
        self._pixels, self._look = pixels, look

    def fetch(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Yield a uint8 batch `(N, C, H, W)` on the pixels' device for each request, in their order.

        It has the size of the request's look, or that of the stored pixels where the request names none.
        """
        together: list[Request] = []
        images = 0
        for request in requests:
            first = together[0] if together else request
            if images + len(request.indices) > _TOGETHER or (request.key, request.look) != (first.key, first.look):
                yield from self._fetch(together)
                together, images = [], 0
            together.append(request)
            images += len(request.indices)
        yield from self._fetch(together)

    def _fetch(self, requests: Sequence[Request]) -> Iterator[Tensor]:
        """Yield the batches of requests of one key and one look."""
        if not requests:
            return
        together = _joined(requests)
        preprocessing, augmentation = together.look or self._look
        indices = torch.tensor(together.indices, dtype=torch.int64)
        block = self._pixels.index_select(0, indices.to(self._pixels.device))
        if together.key is not None:
            draws = request_draws(together, indices, augmentation)
            block = augment(block, draws, augmentation, preprocessing.interpolation, preprocessing.size)
        yield from torch.split(block, [len(request.indices) for request in requests])

    def close(self) -> None:
        """Do nothing: there are no workers to end."""


def _joined(requests: Sequence[Request]) -> Request:
    """Return requests of one key and one look as one."""
    if len(requests) == 1:
        return requests[0]
    copies = None
    if any(request.copies is not None for request in requests):
        each = [[0] * len(request.indices) if request.copies is None else request.copies for request in requests]
        copies = list(chain.from_iterable(each))
    return requests[0]._replace(indices=list(chain.from_iterable(r.indices for r in requests)), copies=copies)
