"""Checkpoints: where a run can be taken up again, checked to the last bit.

A checkpoint is a safetensors file with two entries of metadata: "meta", what is not a tensor, as JSON, and
"checksum", over everything that is read back. A kill leaves the checkpoint before; a disk that flips a bit or
loses the end of a file is noticed, and the checkpoint before is used.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from neocog._files import storing
from neocog.errors import TrainingError, UsageError, WeightsError
from neocog.inference.tensor_file import open_tensors, tensor_bytes, write_tensors


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole.

    Attributes:
        tensors: by name, contiguous, on the CPU.
        meta: what is not a tensor.
        path: the file.
        warnings: a line for each newer checkpoint that was damaged.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    path: Path
    warnings: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of one run, of which the newest are kept.

    Args:
        directory: holds them; made when the first is saved.
        keep: how many stay. With two, damage to the newest costs the time between them and not the run.
        writes: False for all but one of several processes; `save` does nothing there.
    """

    def __init__(self, directory: str | Path, keep: int = 2, *, writes: bool = True) -> None:
        if keep < 1:
            raise UsageError(f"at least 1 checkpoint must be kept, not {keep}")
        self.directory, self.keep, self.writes = Path(directory), keep, writes

    def paths(self) -> list[Path]:
        """Return the files, oldest first."""
        return sorted(self.directory.glob("step-*.safetensors"), key=_step)

    def save(self, step: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Path:
        """Write the checkpoint of `step`, then remove those that are no longer needed.

        Later steps than this are removed too: they are of a run that went back to an earlier checkpoint.

        Raises:
            StorageError: the disk is full or cannot be written; the checkpoints before stay as they are.
        """
        path = self.directory / f"step-{step:010d}.safetensors"
        if not self.writes:
            return path
        with storing(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, tensors, meta)
        older = [other for other in self.paths() if _step(other) < step]
        later = [other for other in self.paths() if _step(other) > step]
        with storing(self.directory):
            for other in later + older[: max(0, len(older) - self.keep + 1)]:
                other.unlink(missing_ok=True)
        return path

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole; None where none was ever saved.

        Raises:
            TrainingError: there are checkpoints, and all are damaged.
        """
        warnings: list[str] = []
        for path in reversed(self.paths()):
            try:
                tensors, meta = load_checkpoint(path)
            except WeightsError as error:
                warnings.append(f"{error}; the checkpoint before it is used")
                continue
            return Checkpoint(tensors, meta, path, tuple(warnings))
        if warnings:
            raise TrainingError(f"every checkpoint in {self.directory} is damaged; start a new run")
        return None


def save_checkpoint(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically.

    Args:
        path: the file.
        tensors: of any shape, layout and device, and of the dtypes that safetensors knows.
        meta: anything that JSON holds. Integers and floats come back exactly, tuples as lists, keys as
            strings.

    Raises:
        UsageError: a tensor or a value that cannot be written.
        StorageError: the disk is full or cannot be written; an older file at `path` is unchanged.
    """
    try:
        text = json.dumps(dict(meta))
    except TypeError as error:
        raise UsageError(f"a checkpoint's meta must be plain values: {error}") from error
    write_tensors(path, tensors, {"meta": text, "checksum": _checksum(tensors, text)})


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the meta of a checkpoint, equal bit for bit to what was saved.

    Raises:
        WeightsError: no such file, not a checkpoint, or a damaged one.
    """
    with open_tensors(path) as file:
        metadata: dict[str, str] = file.metadata() or {}
        if not {"meta", "checksum"} <= metadata.keys():
            raise WeightsError(f"{path} is not a checkpoint, or is damaged")
        mapped = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        if _checksum(mapped, metadata["meta"]) != metadata["checksum"]:
            raise WeightsError(f"{path} is damaged: its checksum does not match")
        # Copies, because a mapped tensor starts wherever the file has it, and matrix products may round
        # otherwise in memory that is aligned otherwise.
        return {name: tensor.clone() for name, tensor in mapped.items()}, json.loads(metadata["meta"])


def _checksum(tensors: Mapping[str, Tensor], meta: str) -> str:
    """Return the CRC-32 of names, dtypes, shapes, elements and meta, whatever the order of the tensors."""
    total = zlib.crc32(meta.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor_bytes(tensor).data, total)
    return f"{total:08x}"


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
