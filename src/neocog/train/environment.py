"""What a run ran on: versions and machine, as a run's directory and `neocog doctor` state them."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from neocog._machine import available_cores
from neocog._version import __version__
from neocog.train.precision import computes_in_bf16

PACKAGES = (
    "torch",
    "torchvision",
    "datasets",
    "numpy",
    "pillow",
    "safetensors",
    "huggingface_hub",
    "scikit-learn",
    "pydantic",
)
_GIB = 2**30


def describe_environment() -> dict[str, Any]:
    """Return versions of neocog, Python and the libraries, and what the machine has, in plain types.

    Memory is in GiB. `computes_in_bf16` says whether the hardware multiplies bfloat16 itself. A library that
    is not installed has the version None; nothing is imported to find out.
    """
    return {
        "neocog": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "processor": processor(),
        "cores": available_cores(),
        "memory_gib": _memory_gib(),
        "computes_in_bf16": computes_in_bf16("cpu"),
        "threads": torch.get_num_threads(),
        "gpus": [_gpu(number) for number in range(torch.cuda.device_count())],
    }


def processor() -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _gpu(number: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(number)
    return {"name": properties.name, "memory_gib": round(properties.total_memory / _GIB, 1)}
