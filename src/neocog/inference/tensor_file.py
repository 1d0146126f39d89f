"""Safetensors files, written atomically and opened with one clear line for everything that can be wrong.

The `safetensors` library reads; writing is here, because its writer neither forces the file to the disk nor
says which error the system gave, makes files that only their owner may read, and wants all tensors on the
host at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from neocog._files import atomic_file
from neocog.errors import UsageError, WeightsError

_CODES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.uint16: "U16", torch.int16: "I16",
    torch.uint32: "U32", torch.int32: "I32", torch.uint64: "U64", torch.int64: "I64",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
    torch.complex64: "C64",
}  # fmt: skip
_LONGEST_HEADER = 100_000_000  # the format's own limit, in bytes


def tensor_bytes(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the elements of `tensor` as bytes, row by row; a contiguous one on the host is not copied."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write `tensors` to `path` atomically, one at a time, whatever their layout or device.

    Raises:
        UsageError: a dtype that safetensors does not know.
        StorageError: the disk is full or the place cannot be written; an older file at `path` is unchanged.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _CODES:
            raise UsageError(f"tensor {name!r} is {tensor.dtype}, which a safetensors file cannot hold")
    # Widest elements first, so that each tensor starts at a multiple of its element's size when the file is
    # mapped.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": _CODES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(tensor_bytes(tensors[name]).data)


@contextmanager
def open_tensors(path: str | Path, device: str | torch.device = "cpu") -> Iterator[Any]:
    """Open a safetensors file, memory-mapped; yields safetensors' own handle.

    Raises:
        WeightsError: no such file, one that cannot be read, of another format, damaged or cut short.
    """
    path = Path(path)
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the .safetensors file in it")
    if not path.exists():
        raise WeightsError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            yield file
    except SafetensorError as error:
        if _begins_like_safetensors(path):
            raise WeightsError(f"{path} is damaged or cut short; fetch or write it again") from error
        raise WeightsError(
            f"{path} is {'empty' if not path.stat().st_size else 'not a safetensors file'}; "
            "give a file that `neocog train` or `save_model` wrote"
        ) from error
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise WeightsError(f"cannot read {path}: {reason}") from error


def _begins_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER
