"""Which device a job works on."""

from __future__ import annotations

import os

import torch

from neocog.errors import UsageError


def choose_device(device: str | None) -> str:
    """Return `device`, or the GPU where there is one; under `torchrun` each process takes its own."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UsageError(f"unknown device {device!r}; use cpu, cuda or cuda:N") from error
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"device {device!r} is not supported; use cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} was asked for, but PyTorch sees no GPU; `neocog doctor` says what it sees")
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
