"""From what a store fetched to what a network takes: device, normalisation, erasing, mixing, layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from neocog.data.augment import finish
from neocog.data.memory import MemoryImages, belongs_in_memory, decode
from neocog.data.mixing import Mixing, mix
from neocog.data.preprocess import normalise
from neocog.data.streaming import Look, Request, StreamedImages, request_keys
from neocog.data.table import Split

if TYPE_CHECKING:
    from neocog.data.cache import PhotoCache


@dataclass(frozen=True)
class Batch:
    """Images that go through the network at once.

    Attributes:
        images: float32 `(N, C, H, W)`, normalised, on the device.
        targets: int64 `(N,)`, or float32 `(N, K)` where an image may have several classes or is blended with another;
            on the device.
        indices: int64 `(N,)` on the CPU: the images' places in the split.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)


class Images(Protocol):
    """A store of uint8 images: `MemoryImages` or `StreamedImages`."""

    def fetch(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Yield uint8 `(N, C, H, W)` for each request, in their order."""
        ...

    def close(self) -> None:
        """End what works for the store."""
        ...


class Feed:
    """Makes batches of what a store fetches.

    Args:
        images: the store.
        split: gives targets and classes.
        look: how images are prepared and varied where a request does not say.
        device: where batches are needed.
        channels_last: memory layout of the batches.
        classes: of targets that are blended; None takes the split's.

    Attributes:
        size: number of images.
        look: see above.
        waited: seconds spent so far on getting batches.
    """

    def __init__(
        self, images: Images, split: Split, look: Look, device: torch.device, channels_last: bool, classes: int | None
    ) -> None:
        self.size = len(split)
        self.waited = 0.0
        self.look = look
        self._images, self._targets, self._device = images, split.targets(), device
        self._classes = classes or len(split.classes)
        self._layout = torch.channels_last if channels_last else torch.contiguous_format

    def batches(self, requests: Sequence[Request], mixing: Mixing, keys: Sequence[int]) -> Iterator[Batch]:
        """Yield a batch for each request, in their order.

        Args:
            requests: what to fetch.
            mixing: how to blend each batch.
            keys: of the blending, one for each request; none where nothing is blended.
        """
        fetched = self._images.fetch(requests)
        for number, request in enumerate(requests):
            began = perf_counter()
            batch = self._finish(request, next(fetched))
            if mixing.changes and keys:
                mixed = mix(batch.images, batch.targets, mixing, keys[number], self._classes)
                batch = Batch(*mixed, batch.indices)
            self.waited += perf_counter() - began
            yield batch
            del batch  # what is held here would lie in memory beside the next one
        next(fetched, None)  # lets the store end what it began

    def _finish(self, request: Request, pixels: Tensor) -> Batch:
        preprocessing, augmentation = request.look or self.look
        indices = torch.tensor(request.indices, dtype=torch.int64)
        images = normalise(pixels.to(self._device, non_blocking=True), preprocessing)
        if request.key is not None and augmentation.finishes:
            finish(images, request_keys(request, indices), augmentation, preprocessing)
        targets = self._targets[indices].to(self._device, non_blocking=True)
        return Batch(images.contiguous(memory_format=self._layout), targets, indices)

    def close(self) -> None:
        """End the store's workers."""
        self._images.close()


def open_images(
    split: Split,
    look: Look,
    *,
    workers: int,
    device: torch.device,
    in_memory: bool | None,
    keep_workers: bool,
    cache: PhotoCache | None,
) -> Images:
    """Choose and open the store that suits the images.

    Args:
        split: the images.
        look: how they are prepared and varied.
        workers: processes that decode photographs.
        device: where batches are needed.
        in_memory: keep the decoded images in memory; None where `belongs_in_memory` says so.
        keep_workers: let workers live from one epoch to the next.
        cache: decoded photographs on disk.
    """
    if in_memory is None:
        in_memory = belongs_in_memory(split, look.preprocessing.size)
    if in_memory:
        return MemoryImages(decode(split, look.preprocessing).to(device), look)
    return StreamedImages(
        split,
        *look,
        workers=workers,
        keep_workers=keep_workers,
        pin=device.type == "cuda",
        cache=cache,
    )
