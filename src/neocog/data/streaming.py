"""Photographs: decoded, cropped and resized by worker processes while the network computes.

The main process decides which images make a batch and with which keys; a worker only carries that out. So the
batches are the same for any number of workers, and none as well.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neocog.data.augment import Augmentation, augment, crop_boxes, draw, vary_cropped
from neocog.data.keys import hash_key
from neocog.data.preprocess import FORMATS, Preprocessing, open_image, to_uint8
from neocog.data.rows import encoded_image
from neocog.data.table import Split
from neocog.errors import DataError, UsageError

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height

_SPARE = 2  # a JPEG is decoded at a lower resolution only where its crop keeps this many times the input's size

_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, ArithmeticError, TypeError, RuntimeError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
_PREFETCH = 2  # batches that each worker prepares ahead


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


class StreamedImages:
    """Images of a split, read from their files each time.

    Args:
        split: the images.
        preprocessing: gives their size, colours and resampling filter.
        augmentation: how requests with a key vary them; None where there will be none.
        workers: processes that decode; 0 decodes in this one.
        keep_workers: let the workers live from one `fetch` to the next, until `close`.
        pin: put batches into memory that a GPU reads directly.
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
    ) -> None:
        if workers < 0:
            raise UsageError(f"workers must be 0 or more, not {workers}")
        self._keep_workers = keep_workers
        self._batches: Iterator[Tensor | DataError] | None = None
        self._requests = _Requests()
        self._loader: DataLoader[Tensor | DataError] = DataLoader(
            _Reader(split, preprocessing, augmentation),
            batch_size=None,
            sampler=cast(Iterable[int], self._requests),
            num_workers=workers,
            worker_init_fn=_start_worker,
            prefetch_factor=_PREFETCH if workers else None,
            persistent_workers=keep_workers and workers > 0,
            pin_memory=pin,
            # Forking starts a worker in milliseconds; elsewhere than on Linux it is not safe.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            # Without a generator of its own the loader would draw from the one that the network uses.
            generator=torch.Generator(),
        )

    def fetch(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Yield a uint8 batch `(N, C, H, W)` on the CPU for each request, in their order.

        Raises:
            DataError: an image cannot be decoded (the message names it), or a worker died.
        """
        self._requests.current = requests
        with _signals_held():
            batches = self._batches = iter(self._loader)
        batch: Tensor | DataError | None = None
        try:
            while (batch := next(batches, None)) is not None:
                if isinstance(batch, DataError):
                    self.close()
                    raise batch
                yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            self.close()
            raise DataError(
                "a process that decodes images died, probably for want of memory; use fewer with "
                "`--set workers=1`, or none with `--set workers=0`"
            ) from error
        finally:
            if not self._keep_workers:
                _end(batches)
            # An error that hung on to this frame, and so to itself, would keep the workers alive as well.
            del batch, batches

    def close(self) -> None:
        """End the workers; a later `fetch` starts new ones."""
        _end(self._batches)
        self._batches = self._loader._iterator = None


class _Requests:
    """What PyTorch calls a sampler: it hands each request to a worker."""

    current: Iterable[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.current)


class _Reader(Dataset[Tensor | DataError]):
    """Turns a request into a batch; this is what runs in a worker."""

    def __init__(self, split: Split, preprocessing: Preprocessing, augmentation: Augmentation | None) -> None:
        self._split = split
        self._preprocessing = preprocessing
        self._augmentation = augmentation

    def __getitem__(self, request: Request) -> Tensor | DataError:
        """Return uint8 `(N, C, H, W)`, or the error: raised here, it would arrive with a worker's traceback."""
        try:
            return self._read(request)
        except DataError as error:
            return error

    def _read(self, request: Request) -> Tensor:
        preprocessing, augmentation = self._preprocessing, self._augmentation
        batch = torch.empty((len(request.indices), preprocessing.channels, *preprocessing.size), dtype=torch.uint8)
        if request.key is None or augmentation is None:
            self._fill(batch, request.indices, self._whole)
            return batch
        indices = torch.tensor(request.indices, dtype=torch.int64)
        draws = draw(hash_key(*request.key, indices), augmentation)
        if augmentation.crop != "random_resized":
            self._fill(batch, request.indices, self._whole)
            return augment(batch, draws, augmentation, preprocessing.interpolation)

        def crop(place: int, source: bytes | Path) -> Tensor:
            image = random_resized_crop(source, draws[place : place + 1], augmentation, preprocessing)
            pixels = torch.from_numpy(np.array(image))
            return pixels.view(*preprocessing.size, -1).permute(2, 0, 1)

        self._fill(batch, request.indices, crop)
        return vary_cropped(batch, draws, augmentation)

    def _whole(self, place: int, source: bytes | Path) -> Tensor:
        return to_uint8(open_image(source, self._preprocessing.channels), self._preprocessing)

    def _fill(self, batch: Tensor, indices: Sequence[int], read: Callable[[int, bytes | Path], Tensor]) -> None:
        """Put `read(place, source)` of each image into its place in the batch."""
        rows = self._split.rows.with_format("arrow")[indices].to_pylist()
        for place, (index, row) in enumerate(zip(indices, rows, strict=True)):
            try:
                source = encoded_image(row)
            except OSError as error:
                raise DataError(f"{self._split.source(index)}: cannot be read ({error.strerror})") from error
            try:
                batch[place] = read(place, source)
            except DataError:
                # The name is looked up only now, because that takes as long as decoding a small image.
                open_image(source, self._preprocessing.channels, name=self._split.source(index))
                raise


def random_resized_crop(
    source: bytes | Path, draws: Tensor, augmentation: Augmentation, preprocessing: Preprocessing
) -> Image.Image:
    """Decode an image, cut a random box from it and resize that to the input.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its resolution where the box still has twice the input's, which
    for a telephone's photographs takes a third of the time.

    Args:
        source: the encoded image.
        draws: `(1, draws)`, from `neocog.data.augment.draw`.
        augmentation: gives the box's distribution.
        preprocessing: gives size, colours and resampling filter.

    Raises:
        DataError: the image cannot be decoded.
    """

    def box_in(width: int, height: int) -> list[int]:
        top, left, tall, wide = crop_boxes(draws.numpy(), height, width, augmentation)[0].tolist()
        return [left, top, left + wide, top + tall]

    height, width = preprocessing.size
    shrink = 1
    try:
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        with warnings.catch_warnings(action="ignore"), Image.open(stream, formats=FORMATS) as stored:
            sideways = stored.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
            box = box_in(*(stored.size[::-1] if sideways else stored.size))
            surplus = min((box[2] - box[0]) // width, (box[3] - box[1]) // height) // _SPARE
            scale = max((scale for scale in (2, 4, 8) if scale <= surplus), default=1)
            full = stored.size
            stored.draft(stored.mode, (full[0] // scale, full[1] // scale))  # does nothing to other formats
            shrink = scale if stored.size != full else 1
            image = open_image(stored, preprocessing.channels)
    except _DAMAGE:
        # `open_image` says what is wrong; what it can open nevertheless is cropped at full resolution.
        image, shrink = open_image(source, preprocessing.channels), 1
        box = box_in(*image.size)
    place = (box[0] / shrink, box[1] / shrink, box[2] / shrink, box[3] / shrink)
    return image.resize((width, height), Image.Resampling[preprocessing.interpolation.upper()], place)


def _end(batches: Iterator[Tensor | DataError] | None) -> None:
    """End the workers behind an iterator, if it has any.

    What PyTorch offers instead, dropping the last reference, waits until every frame that holds one is gone.
    """
    end = getattr(batches, "_shutdown_workers", None)
    if end is not None:
        end()


def _start_worker(worker: int) -> None:
    """Let a worker end when its parent says so or has died, and for no other reason.

    A terminal's Ctrl-C and a batch system's SIGTERM reach the whole process group. The parent answers them by
    writing a checkpoint, for which its workers must still be alive, and silent. Both signals are blocked since
    before the worker started (`_signals_held`); SIGTERM is taken here, and counts from the parent only.
    """
    gc.freeze()  # what was inherited from the parent is the parent's to collect
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Keep SIGINT and SIGTERM waiting, here and for good in the processes that are started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
