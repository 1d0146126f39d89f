"""From a split to the batches that a network trains on or is measured on.

The order of an epoch and the key of every image are decided here, in the main process, from (seed, epoch) alone, or
by an order that is handed in and answers for an epoch always the same.
Two kinds of store fetch what is asked for: `MemoryImages` for small images, decoded once, and `StreamedImages`
for photographs, decoded by workers. Both give uint8; normalisation happens here, on the training device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from neocog.data.augment import Augmentation
from neocog.data.feed import Batch, Feed, open_images
from neocog.data.keys import Stream, epoch_order, hash_key
from neocog.data.mixing import Mixing
from neocog.data.preprocess import Preprocessing
from neocog.data.streaming import Look, Request
from neocog.data.table import Split
from neocog.errors import DataError, UsageError

if TYPE_CHECKING:
    from neocog.data.cache import PhotoCache

__all__ = ["Batch", "Batches", "EvaluationBatches", "TrainingBatches"]
__all__ += ["evaluation_batches", "measure_mean_std", "training_batches"]

Looks = Callable[[int], tuple[Look, Mixing]]
Order = Callable[[int], Tensor]
"""The images that an epoch shows, in order: int64 `(images of the split,)` on the CPU. Some may come several times."""

_BLOCK = 256  # images that `measure_mean_std` reads at once
_PLAIN = Augmentation(crop="none", flip=0)


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

    def __init__(
        self, feed: Feed, *, batch_size: int, seed: int, parts: range, of: int, repeats: int, looks: Looks, order: Order
    ) -> None:
        self.batch_size = batch_size
        self.steps_per_epoch = feed.size // batch_size
        self._feed, self._seed = feed, seed
        self._parts, self._of, self._share = parts, of, batch_size // of
        self._repeats, self._looks, self._order = repeats, looks, order

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
        look, mixing = self._looks(epoch)
        look.augmentation.check_size(look.preprocessing.size)
        told = None if look == self._feed.look else look
        order = self._order(epoch).repeat_interleave(self._repeats)[: self.steps_per_epoch * self.batch_size]
        shown, copies = order.tolist(), times_before(order).tolist()
        again = any(copies)
        requests, keys = [], []
        for step in range(start, self.steps_per_epoch):
            for part in self._parts:
                number = step * self._of + part  # of the micro-batch, over all processes
                places = slice(number * self._share, (number + 1) * self._share)
                requests.append(Request(shown[places], (self._seed, epoch), copies[places] if again else None, told))
                keys.append(hash_key(self._seed, epoch, number, stream=Stream.MIX))
        batches = self._feed.batches(requests, mixing, keys)
        for _ in range(start, self.steps_per_epoch):
            yield list(islice(batches, len(self._parts)))

    def unvaried(self, images: int) -> Iterator[Batch]:
        """Yield the first so many images of the first epoch as prediction sees them, not varied and not blended.

        They are the same in every process; of fewer images there are, all.
        """
        order = self._order(0)[:images].tolist()
        firsts = range(0, len(order), _BLOCK)
        return self._feed.batches([Request(order[first : first + _BLOCK], None) for first in firsts], Mixing(), ())

    def close(self) -> None:
        """End the workers, if there are any; `steps` would start new ones."""
        self._feed.close()


def times_before(values: Tensor) -> Tensor:
    """Return for each of int64 `(N,)` how often the same value came before it."""
    ordered, places = values.sort(stable=True)
    since_the_first = torch.arange(len(values)) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(values).index_copy_(0, places, since_the_first)


class EvaluationBatches:
    """Every image once, in order, as prediction sees it; made by `evaluation_batches`. The last may be smaller."""

    def __init__(self, feed: Feed, *, batch_size: int) -> None:
        self._feed, self._batch_size = feed, batch_size

    def __len__(self) -> int:
        return -(-self._feed.size // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        firsts = range(0, self._feed.size, self._batch_size)
        places = [range(first, min(first + self._batch_size, self._feed.size)) for first in firsts]
        return self._feed.batches([Request(place, None) for place in places], Mixing(), ())

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
    repeats: int = 1,
    mixing: Mixing | None = None,
    looks: Looks | None = None,
    order: Order | None = None,
    classes: int | None = None,
    cache: PhotoCache | None = None,
) -> TrainingBatches:
    """Return a split's batches for training; they are a function of the data, the settings, `order` and `seed` alone.

    A step's `batch_size` images are cut, in order, into `world_size * accumulate` equal micro-batches. Process
    `rank` takes the `accumulate` of them from number `rank * accumulate` on. So two processes compute what one
    does that accumulates twice.

    Batches are always full: the images left over at the end of an epoch are other ones in each epoch. A split
    smaller than `batch_size` makes one batch of all its images, less a remainder of the division.

    With `repeats` r, an epoch shows the first 1 / r of its images, each r times in a row and varied differently each
    time (Hoffer et al. 2019, "Augment your batch"); it has as many steps as without.

    Args:
        split: the images.
        preprocessing: size, colours and normalisation.
        augmentation: how the images vary. Erasing and lighting happen after normalisation, blending after those, all on
            the device.
        batch_size: images of one optimiser step, over all processes and micro-batches.
        accumulate: micro-batches of each process in a step.
        seed: decides order and augmentation.
        rank: of this process.
        world_size: number of processes that train together.
        workers: processes that decode photographs; the batches do not depend on it.
        device: where the batches are needed.
        channels_last: memory layout of the batches.
        in_memory: keep the decoded images in memory; None where they are small enough (see `Split.small`).
        repeats: times that each image comes in a row.
        mixing: how the images of a micro-batch are blended; None for not at all.
        looks: what an epoch, counted from 0, has instead of `preprocessing`, `augmentation` and `mixing`, for settings
            that vary as training goes on. Images in memory are kept at the size of `preprocessing` and resized from
            there, so let that be the largest.
        order: which images an epoch, counted from 0, shows, and in which order; None for all of them in one that `seed`
            decides. An image that comes again in an epoch is varied differently each time.
        classes: of targets that are blended; None takes the split's.
        cache: decoded photographs on disk, from `neocog.data.cache.open_cache`.

    Raises:
        UsageError: the batch cannot be divided equally, or `repeats` is below 1.
        DataError: there are fewer images than micro-batches, or one of them cannot be decoded.
    """
    if repeats < 1:
        raise UsageError(f"repeats must be 1 or more, not {repeats}")
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
    look, place = Look(preprocessing, augmentation), torch.device(device)
    images = open_images(
        split, look, workers=workers, device=place, in_memory=in_memory, keep_workers=True, cache=cache
    )
    usual = (look, mixing or Mixing())
    return TrainingBatches(
        Feed(images, split, look, place, channels_last, classes),
        batch_size=min(batch_size, len(split) // micro_batches * micro_batches),
        seed=seed,
        parts=range(rank * accumulate, (rank + 1) * accumulate),
        of=micro_batches,
        repeats=repeats,
        looks=looks or (lambda epoch: usual),
        order=order or (lambda epoch: epoch_order(seed, epoch, len(split))),
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
    look, place = Look(preprocessing, _PLAIN), torch.device(device)
    images = open_images(
        split, look, workers=workers, device=place, in_memory=in_memory, keep_workers=False, cache=None
    )
    return EvaluationBatches(Feed(images, split, look, place, channels_last, None), batch_size=batch_size)


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
    look, device = Look(preprocessing, _PLAIN), torch.device("cpu")
    images = open_images(split, look, workers=workers, device=device, in_memory=None, keep_workers=False, cache=None)
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
