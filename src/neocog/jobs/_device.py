"""Which device a job works on."""

from __future__ import annotations

import os

import torch

from neocog.errors import UsageError


def choose_device(device: str | None) -> str:
    """Return `device`, or the GPU where there is one; under `torchrun` each process takes its own.

    Raises:
        UsageError: there is no such device, or there are more processes than GPUs.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"unknown device {device!r}; use cpu, cuda or cuda:N") from error
    if asked.type not in ("cpu", "cuda"):
        raise UsageError(f"device {device!r} is not supported; use cpu, cuda or cuda:N")
    if asked.type == "cpu":
        return device
    if not torch.cuda.is_available():
        raise UsageError(f"device {device!r} was asked for, but PyTorch sees no GPU; `neocog doctor` says what it sees")
    place, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if asked.index is None and place >= gpus:
        raise UsageError(
            f"process {place} of this machine has no GPU: there are {gpus}; start at most {gpus} processes"
        )
    if asked.index is not None and asked.index >= gpus:
        raise UsageError(f"there is no device {device!r}: PyTorch sees {gpus}, counted from cuda:0")
    return f"cuda:{place}" if asked.index is None else device
