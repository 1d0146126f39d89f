"""`without_numbers`: make a network for its shapes alone, in no memory and hardly any time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_FILLING = frozenset(
    "normal_ uniform_ trunc_normal_ bernoulli_ random_ fill_ zero_ copy_ erfinv_ clamp_ mul_ add_ sub_ div_".split()
)


@contextmanager
def without_numbers() -> Iterator[None]:
    """Within the context, modules are made on the meta device, and to fill them with numbers takes no time.

        >>> with without_numbers():
        ...     network = torchvision.models.vgg16()

    torch alone would go through the motions: drawing ConvNeXt-L's weights takes it longer on meta than making its
    modules does.
    """
    with torch.device("meta"), _Unfilled():  # type: ignore[no-untyped-call]
        yield


class _Unfilled(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Leaves out what would only write numbers to tensors that have none."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # it would import the compiler, which takes a second, to keep it from this class

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in _FILLING and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))
