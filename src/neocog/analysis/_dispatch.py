"""What stands between torch and its kernels while a pass is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from neocog.analysis._shapes import run as run_on_meta

if TYPE_CHECKING:
    from neocog.analysis._recorder import Recorder


class Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every operation to the recorder, and takes tensors that a network keeps by itself to its device."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder
        self._silent = False
        self._moved: dict[tuple[int, torch.dtype], tuple[StorageWeakRef, Tensor]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # it would import the compiler, which takes longer than most passes, to keep it from this class

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._silent:
            return func(*args, **kwargs)
        recorder = self.recorder
        given = recorder.read(args, kwargs)
        if recorder.on_meta and _is_mixed(args, kwargs):
            args, kwargs = self.to_meta(args), self.to_meta(kwargs)
        result = run_on_meta(func, args, kwargs) if recorder.on_meta else func(*args, **kwargs)
        recorder.record(func.overloadpacket.__name__, str(func), given, result, writes=func._schema.is_mutable)
        return result

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Within the context, hand nothing over."""
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    def to_meta(self, given: Any) -> Any:
        """Return arguments with real tensors replaced, those that share memory by ones that do."""
        if isinstance(given, Tensor):
            return given if given.is_meta else self._counterpart(given)
        if isinstance(given, tuple | list):
            return type(given)(self.to_meta(each) for each in given)
        if isinstance(given, dict):
            return {name: self.to_meta(each) for name, each in given.items()}
        return given

    def _counterpart(self, tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        key = (memory._cdata, tensor.dtype)
        with self.silenced():
            if key not in self._moved:
                whole = torch.empty(memory.nbytes() // tensor.itemsize, dtype=tensor.dtype, device="meta")
                self._moved[key] = (StorageWeakRef(memory), whole)  # type: ignore[no-untyped-call]
            return self._moved[key][1].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def _is_mixed(args: Any, kwargs: Any) -> bool:
    """Say whether there are both meta and real tensors."""
    places = {tensor.is_meta for tensor in tensors_in((args, kwargs))}
    return len(places) == 2


def tensors_in(given: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested arguments or outputs, in order."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, tuple | list):
        for each in given:
            yield from tensors_in(each)
    elif isinstance(given, dict):
        for each in given.values():
            yield from tensors_in(each)
    elif is_dataclass(given) and not isinstance(given, type):
        for each in vars(given).values():
            yield from tensors_in(each)
