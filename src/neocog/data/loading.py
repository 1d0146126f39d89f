"""From a split to the batches that a network trains on or is measured on.

The order of an epoch and the key of every image are decided here, in the main process, from (seed, epoch) alone.
Two kinds of store fetch what is asked for: `MemoryImages` for small images, decoded once, and `StreamedImages`
for photographs, decoded by workers. Both give uint8; normalisation happens here, on the training device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from neocog.data.augment import Augmentation
from neocog.data.keys import epoch_order
from neocog.data.memory import MemoryImages, decode
from neocog.data.preprocess import Preprocessing, normalise
from neocog.data.streaming import Request, StreamedImages
from neocog.data.table import SMALL_SIDE, Split
from neocog.errors import DataError, UsageError

_BLOCK = 256  # images that `measure_mean_std` reads at once


@dataclass(frozen=True)
class Batch:
    """Images that go through the network at once.

    Attributes:
        images: float32 `(N, C, H, W)`, normalised, on the device.
        targets: int64 `(N,)`, or float32 `(N, K)` where an image may have several classes; on the device.
        indices: int64 `(N,)` on the CPU: the images' places in the split.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)


class Batches(Protocol):
    """What `fit` reads.

    Attributes:
        steps_per_epoch: optimiser steps in an epoch.
        batch_size: images of one step, over all processes and micro-batches.
    """

    steps_per_epoch: int
    batch_size: int

    def steps(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Yield, for each step of `epoch` from `start` on, this process's micro-batches."""
        ...


class TrainingBatches:
    """Augmented batches in an order that differs by epoch; made by `training_batches`.

    Attributes:
        steps_per_epoch: optimiser steps in an epoch.
        batch_size: images of one step, over all processes and micro-batches.
    """

    def __init__(self, feed: _Feed, *, batch_size: int, seed: int, parts: range, of: int) -> None:
        self.batch_size = batch_size
        self.steps_per_epoch = feed.size // batch_size
        self._feed, self._seed = feed, seed
        self._parts, self._share = parts, batch_size // of

    @property
    def waited(self) -> float:
        """Seconds spent so far on getting batches, during which the network stood still."""
        return self._feed.waited

    def steps(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Yield, for each step of `epoch` from `start` on, this process's micro-batches.

        What comes before `start` is not read.

        Raises:
            DataError: an image cannot be decoded; the message names it.
        """
        order = epoch_order(self._seed, epoch, self._feed.size).tolist()
        requests = []
        for step in range(start, self.steps_per_epoch):
            for part in self._parts:
                first = step * self.batch_size + part * self._share
                requests.append(Request(order[first : first + self._share], (self._seed, epoch)))
        batches = self._feed.batches(requests)
        for _ in range(start, self.steps_per_epoch):
            yield list(islice(batches, len(self._parts)))

    def close(self) -> None:
        """End the workers, if there are any; `steps` would start new ones."""
        self._feed.close()


class EvaluationBatches:
    """Every image once, in order, as prediction sees it; made by `evaluation_batches`. The last may be smaller."""

    def __init__(self, feed: _Feed, *, batch_size: int) -> None:
        self._feed, self._batch_size = feed, batch_size

    def __len__(self) -> int:
        return -(-self._feed.size // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        firsts = range(0, self._feed.size, self._batch_size)
        places = [range(first, min(first + self._batch_size, self._feed.size)) for first in firsts]
        return self._feed.batches([Request(place, None) for place in places])

    @property
    def waited(self) -> float:
        """Seconds spent so far on getting batches, during which the network stood still."""
        return self._feed.waited


def training_batches(
    split: Split,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    *,
    batch_size: int,
    accumulate: int = 1,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    device: torch.device | str = "cpu",
    channels_last: bool = False,
    in_memory: bool | None = None,
) -> TrainingBatches:
    """Return a split's batches for training; they are a function of the data, the settings and `seed` alone.

    A step's `batch_size` images are cut, in order, into `world_size * accumulate` equal micro-batches. Process
    `rank` takes the `accumulate` of them from number `rank * accumulate` on. So two processes compute what one
    does that accumulates twice.

    Batches are always full: the images left over at the end of an epoch are other ones in each epoch. A split
    smaller than `batch_size` makes one batch of all its images, less a remainder of the division.

    Args:
        split: the images.
        preprocessing: size, colours and normalisation.
        augmentation: how the images vary.
        batch_size: images of one optimiser step, over all processes and micro-batches.
        accumulate: micro-batches of each process in a step.
        seed: decides order and augmentation.
        rank: of this process.
        world_size: number of processes that train together.
        workers: processes that decode photographs; the batches do not depend on it.
        device: where the batches are needed.
        channels_last: memory layout of the batches.
        in_memory: keep the decoded images in memory; None where they are small enough (see `Split.small`).

    Raises:
        UsageError: the batch cannot be divided equally.
        DataError: there are fewer images than micro-batches, or one of them cannot be decoded.
    """
    if min(batch_size, accumulate, world_size) < 1 or not 0 <= rank < world_size:
        raise UsageError(
            f"batch size {batch_size}, accumulate {accumulate} and world size {world_size} must be at least 1, "
            f"and rank {rank} below the world size"
        )
    micro_batches = world_size * accumulate
    if batch_size % micro_batches:
        raise UsageError(
            f"a batch of {batch_size} cannot be divided among {world_size} processes of {accumulate} micro-batches "
            f"each; choose a multiple of {micro_batches}"
        )
    if len(split) < micro_batches:
        raise DataError(
            f"{split.name}: {len(split)} training images are too few for {micro_batches} micro-batches; "
            "add images, or use fewer processes or `--set accumulate=1`"
        )
    images = _open(split, preprocessing, augmentation, workers, torch.device(device), in_memory, keep=True)
    return TrainingBatches(
        _Feed(images, split.targets(), preprocessing, torch.device(device), channels_last),
        batch_size=min(batch_size, len(split) // micro_batches * micro_batches),
        seed=seed,
        parts=range(rank * accumulate, (rank + 1) * accumulate),
        of=micro_batches,
    )


def evaluation_batches(
    split: Split,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int = 0,
    device: torch.device | str = "cpu",
    channels_last: bool = False,
    in_memory: bool | None = None,
) -> EvaluationBatches:
    """Return a split's batches for evaluation: every image once, in order, exactly as `preprocess` gives it.

    The arguments are those of `training_batches`.
    """
    if batch_size < 1:
        raise UsageError(f"batch size must be at least 1, not {batch_size}")
    images = _open(split, preprocessing, None, workers, torch.device(device), in_memory, keep=False)
    feed = _Feed(images, split.targets(), preprocessing, torch.device(device), channels_last)
    return EvaluationBatches(feed, batch_size=batch_size)


def measure_mean_std(
    split: Split, preprocessing: Preprocessing, *, workers: int = 0
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel over all pixels of a split, on the scale of [0, 1].

    Of `preprocessing` size and colours count. Sums are of integers, and so exact. The deviation of a channel
    that never varies is given as 1, by which one can divide.

    Raises:
        DataError: the split is empty, or an image cannot be decoded.
    """
    if not len(split):
        raise DataError(f"{split.name}: has no images to measure; add some")
    images = _open(split, preprocessing, None, workers, torch.device("cpu"), None, keep=False)
    places = [range(first, min(first + _BLOCK, len(split))) for first in range(0, len(split), _BLOCK)]
    total = torch.zeros(preprocessing.channels, dtype=torch.int64)
    squares = torch.zeros_like(total)
    for block in images.fetch([Request(place, None) for place in places]):
        values = block.to(torch.int32)
        total += values.sum((0, 2, 3))
        squares += values.square().sum((0, 2, 3))
    pixels = len(split) * preprocessing.size[0] * preprocessing.size[1]
    mean = [int(value) / pixels for value in total]
    variance = [int(value) / pixels - centre**2 for value, centre in zip(squares, mean, strict=True)]
    return tuple(m / 255 for m in mean), tuple(max(v, 0) ** 0.5 / 255 or 1.0 for v in variance)


class _Images(Protocol):
    """A store of uint8 images: `MemoryImages` or `StreamedImages`."""

    def fetch(self, requests: Iterable[Request]) -> Iterator[Tensor]: ...

    def close(self) -> None: ...


class _Feed:
    """Makes batches of what a store fetches: targets, device, normalisation and layout."""

    def __init__(
        self,
        images: _Images,
        targets: Tensor,
        preprocessing: Preprocessing,
        device: torch.device,
        channels_last: bool,
    ) -> None:
        self.size = len(targets)
        self.waited = 0.0
        self._images, self._targets, self._preprocessing = images, targets, preprocessing
        self._device = device
        self._layout = torch.channels_last if channels_last else torch.contiguous_format

    def batches(self, requests: Sequence[Request]) -> Iterator[Batch]:
        fetched = zip(requests, self._images.fetch(requests), strict=True)
        while True:
            began = perf_counter()
            pair = next(fetched, None)
            batch = self._finish(*pair) if pair else None
            self.waited += perf_counter() - began
            if batch is None:
                return
            yield batch

    def _finish(self, request: Request, pixels: Tensor) -> Batch:
        images = normalise(pixels.to(self._device, non_blocking=True), self._preprocessing)
        indices = torch.tensor(request.indices, dtype=torch.int64)
        targets = self._targets[indices].to(self._device, non_blocking=True)
        return Batch(images.contiguous(memory_format=self._layout), targets, indices)

    def close(self) -> None:
        self._images.close()


def _open(
    split: Split,
    preprocessing: Preprocessing,
    augmentation: Augmentation | None,
    workers: int,
    device: torch.device,
    in_memory: bool | None,
    keep: bool,
) -> _Images:
    """Choose and open the store that suits the images."""
    if in_memory is None:
        # Small images that the network sees much enlarged would fill the memory after all.
        in_memory = len(split) > 0 and max(preprocessing.size) <= SMALL_SIDE and split.small
    if in_memory:
        pixels = decode(split, preprocessing).to(device)
        return MemoryImages(pixels, preprocessing, augmentation)
    pin = device.type == "cuda"
    return StreamedImages(split, preprocessing, augmentation, workers=workers, keep_workers=keep, pin=pin)
