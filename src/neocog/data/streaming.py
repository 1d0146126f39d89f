"""Photographs: decoded, cropped and resized by worker processes while the network computes.

The main process decides which images make a batch and with which keys; a worker only carries that out. So the
batches are the same for any number of workers, and none as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from neocog.data.augment import Augmentation, augment, crop_boxes, draw_in_epoch, vary_cropped
from neocog.data.cache import PhotoCache
from neocog.data.decoding import Photograph, prepare_decoder, unpacked
from neocog.data.keys import hash_key
from neocog.data.preprocess import Preprocessing, open_image, to_uint8
from neocog.data.rows import encoded_image
from neocog.data.table import Split
from neocog.data.workers import Workers
from neocog.errors import DataError, UsageError

_BOXES = ("random_resized", "scale")  # crops that are a box of the photograph, resized
_BLOCK = 16  # photographs whose encoded bytes are held at once

_Sides = npt.NDArray[np.int64]
_Boxes = list[list[float]]


class Look(NamedTuple):
    """How images are prepared and varied in one epoch.

    Attributes:
        preprocessing: size, colours, resampling filter and normalisation.
        augmentation: how the images vary.
    """

    preprocessing: Preprocessing
    augmentation: Augmentation


class Request(NamedTuple):
    """Images to fetch as one batch.

    Attributes:
        indices: of the images in the split; a range is read faster than a list.
        key: (seed, epoch) of the augmentation; None fetches the images as evaluation sees them.
        copies: which repetition of its image each is; None for the first.
        look: how they are prepared and varied; None as the store was told.
    """

    indices: Sequence[int]
    key: tuple[int, int] | None
    copies: Sequence[int] | None = None
    look: Look | None = None


def request_keys(request: Request, indices: Tensor) -> Tensor:
    """Return the keys of a request's images, int64 `(N,)`; `indices` are the request's, as a tensor."""
    return hash_key(*_varying(request), indices, _copies(request))


def request_draws(request: Request, indices: Tensor, augmentation: Augmentation) -> Tensor:
    """Return what `augmentation` draws for a request's images, as `draw` does; `indices` are theirs, as a tensor."""
    return draw_in_epoch(_varying(request), indices, _copies(request), augmentation)


def _varying(request: Request) -> tuple[int, int]:
    if request.key is None:
        raise ValueError("a request without a key varies nothing")
    return request.key


def _copies(request: Request) -> int | Tensor:
    return 0 if request.copies is None else torch.tensor(request.copies, dtype=torch.int64)


class StreamedImages:
    """Images of a split, read from their files each time, or from a cache of decoded ones.

    Args:
        split: the images.
        preprocessing: gives their size, colours and resampling filter.
        augmentation: how requests with a key vary them; None where there will be none.
        workers: processes that decode; 0 decodes in this one.
        keep_workers: let the workers live from one `fetch` to the next, until `close`.
        pin: put batches into memory that a GPU reads directly.
        cache: the split's photographs, decoded; requests with a key read them there.

    Raises:
        UsageError: the number of workers is negative, or the cache is not of these images.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        *,
        workers: int = 0,
        keep_workers: bool = False,
        pin: bool = False,
        cache: PhotoCache | None = None,
    ) -> None:
        if cache is not None and (len(cache), cache.channels) != (len(split), preprocessing.channels):
            raise UsageError(f"the cache {cache.folder} is not of {split.name}; open it for that split")
        if augmentation is not None and augmentation.crop in _BOXES and cache is None:
            prepare_decoder()  # once, here, and not in each worker
        self._workers = Workers(_Reader(split, preprocessing, augmentation, cache), workers, keep=keep_workers, pin=pin)

    def fetch(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Yield a uint8 batch `(N, C, H, W)` on the CPU for each request, in their order.

        Raises:
            DataError: an image cannot be decoded (the message names it), or a worker died.
        """
        return self._workers.fetch(requests)

    def close(self) -> None:
        """End the workers; a later `fetch` starts new ones."""
        self._workers.close()


class _Reader(Dataset[Tensor | DataError]):
    """Turns a request into a batch; this is what runs in a worker."""

    def __init__(
        self, split: Split, preprocessing: Preprocessing, augmentation: Augmentation | None, cache: PhotoCache | None
    ) -> None:
        self._split, self._rows, self._cache = split, split.rows.with_format("arrow"), cache
        self._preprocessing, self._augmentation = preprocessing, augmentation

    def __getitem__(self, request: Request) -> Tensor | DataError:
        """Return uint8 `(N, C, H, W)`, or the error."""
        try:
            return self._read(request)
        except DataError as error:
            return error

    def _read(self, request: Request) -> Tensor:
        preprocessing, augmentation = request.look or (self._preprocessing, self._augmentation)
        batch = torch.empty((len(request.indices), preprocessing.channels, *preprocessing.size), dtype=torch.uint8)
        if request.key is None or augmentation is None:
            self._fill_whole(batch, request.indices, preprocessing)
            return batch
        draws = request_draws(request, torch.tensor(request.indices, dtype=torch.int64), augmentation)
        if augmentation.crop not in _BOXES:
            self._fill_whole(batch, request.indices, preprocessing, self._cache)
            return augment(batch, draws, augmentation, preprocessing.interpolation)

        def boxes(places: slice, heights: _Sides, widths: _Sides) -> _Boxes:
            found: _Boxes = crop_boxes(
                draws[places].numpy(), heights, widths, augmentation, preprocessing.size
            ).tolist()
            return found

        if self._cache is None:
            self._fill_cropped(batch, request.indices, preprocessing, boxes)
        else:
            found = boxes(slice(None), *self._cache.sizes[request.indices].T)
            for place, (index, box) in enumerate(zip(request.indices, found, strict=True)):
                batch[place] = self._cache.crop(index, box, preprocessing.size, preprocessing.interpolation)
        return vary_cropped(batch, draws, augmentation)

    def _fill_whole(
        self, batch: Tensor, indices: Sequence[int], preprocessing: Preprocessing, cache: PhotoCache | None = None
    ) -> None:
        """Fill a batch with images as evaluation sees them; from a cache, nearly so."""
        if cache is not None:
            for place, index in enumerate(indices):
                batch[place] = to_uint8(unpacked(cache.pixels(index)), preprocessing)
            return
        for place, (index, row) in enumerate(zip(indices, self._rows[indices].to_pylist(), strict=True)):
            with self._naming(index, row):
                batch[place] = to_uint8(open_image(encoded_image(row), preprocessing.channels), preprocessing)

    def _fill_cropped(
        self,
        batch: Tensor,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        boxes: Callable[[slice, _Sides, _Sides], _Boxes],
    ) -> None:
        """Fill a batch with boxes of images; `boxes` gives those of some places, from heights and widths."""
        rows = self._rows[indices].to_pylist()
        for first in range(0, len(rows), _BLOCK):
            places = range(first, min(first + _BLOCK, len(rows)))
            photographs = []
            for place in places:
                with self._naming(indices[place], rows[place]):
                    photographs.append(Photograph(encoded_image(rows[place]), preprocessing.channels))
            sides = np.array([photograph.size for photograph in photographs]).T
            found = boxes(slice(places.start, places.stop), *sides)
            for place, photograph, box in zip(places, photographs, found, strict=True):
                with self._naming(indices[place], rows[place]):
                    batch[place] = photograph.crop(box, preprocessing.size, preprocessing.interpolation)

    @contextmanager
    def _naming(self, index: int, row: dict[str, Any]) -> Iterator[None]:
        """Let the error of an image that cannot be read or decoded say which it is."""
        try:
            yield
        except OSError as error:
            raise DataError(f"{self._split.source(index)}: cannot be read ({error.strerror})") from error
        except DataError:
            # The name is looked up only now, because that takes as long as decoding a small image.
            open_image(encoded_image(row), name=self._split.source(index))
            raise
