"""Processes that read images while the network computes."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset

from neocog.errors import DataError, UsageError

Result = TypeVar("Result")

_PREFETCH = 2  # results that each worker prepares ahead


class Workers(Generic[Result]):
    """Carries out requests in other processes, or in this one, and returns their results in order.

    Args:
        reader: `reader[request]` gives the result, or the `DataError` that prevented it; raised there, an error would
            arrive with a worker's traceback.
        count: processes; 0 does the work in this one.
        keep: let the processes live from one `fetch` to the next, until `close`.
        pin: put tensors into memory that a GPU reads directly.

    Raises:
        UsageError: fewer than 0 processes.
    """

    def __init__(
        self, reader: Dataset[Result | DataError], count: int, *, keep: bool = False, pin: bool = False
    ) -> None:
        if count < 0:
            raise UsageError(f"workers must be 0 or more, not {count}")
        self._keep = keep
        self._results: Iterator[Result | DataError] | None = None
        self._requests = _Requests()
        self._loader: DataLoader[Result | DataError] = DataLoader(
            reader,
            batch_size=None,
            sampler=cast(Iterable[int], self._requests),
            num_workers=count,
            worker_init_fn=_start,
            prefetch_factor=_PREFETCH if count else None,
            persistent_workers=keep and count > 0,
            pin_memory=pin,
            # Forking starts a worker in milliseconds; elsewhere than on Linux it is not safe.
            multiprocessing_context="fork" if count and sys.platform == "linux" else None,
            # Without a generator of its own the loader would draw from the one that the network uses.
            generator=torch.Generator(),
        )

    def fetch(self, requests: Iterable[Any]) -> Iterator[Result]:
        """Yield the result of each request, in their order.

        Raises:
            DataError: an image cannot be decoded (the message names it), or a worker died.
        """
        self._requests.current = requests
        with _signals_held():
            results = self._results = iter(self._loader)
        result: Result | DataError | None = None
        try:
            while (result := next(results, None)) is not None:
                if isinstance(result, DataError):
                    self.close()
                    raise result
                yield result
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            self.close()
            raise DataError(
                "a process that decodes images died, probably for want of memory; use fewer with "
                "`--set workers=1`, or none with `--set workers=0`"
            ) from error
        finally:
            if not self._keep:
                _end(results)
            # An error that hung on to this frame, and so to itself, would keep the workers alive as well.
            del result, results

    def close(self) -> None:
        """End the processes; a later `fetch` starts new ones."""
        _end(self._results)
        self._results = self._loader._iterator = None


class _Requests:
    """What PyTorch calls a sampler: it hands each request to a worker."""

    current: Iterable[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.current)


def _end(results: Iterator[Any] | None) -> None:
    """End the workers behind an iterator, if it has any.

    What PyTorch offers instead, dropping the last reference, waits until every frame that holds one is gone.
    """
    end = getattr(results, "_shutdown_workers", None)
    if end is not None:
        end()


def _start(worker: int) -> None:
    """Let a worker end when its parent says so or has died, and for no other reason; and let it be silent.

    A terminal's Ctrl-C and a batch system's SIGTERM reach the whole process group. The parent answers them by
    writing a checkpoint, for which its workers must still be alive, and silent. Both signals are blocked since
    before the worker started (`_signals_held`); SIGTERM is taken here, and counts from the parent only.
    """
    gc.freeze()  # what was inherited from the parent is the parent's to collect
    _silence_libraries()
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _silence_libraries() -> None:
    """Keep decoders written in C from remarking on every odd JPEG in every epoch; Python still speaks up."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


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
