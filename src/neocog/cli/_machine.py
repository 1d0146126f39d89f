"""What `neocog doctor` finds out about the machine, in plain types."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neocog._hub import hub_refusal

GIB = 2**30
SECONDS_PER_SPEED = 0.25  # four of them: a second in all


def examine() -> dict[str, Any]:
    """Return all findings; takes some seconds, of which torch's start is the most."""
    from neocog.train.environment import describe_environment

    environment = describe_environment()
    return {
        **environment,
        "core_quota": core_quota(),
        "memory_free_gib": free_memory_gib(),
        "disk_free_gib": round(shutil.disk_usage(".").free / GIB, 1),
        "shared_memory_gib": shared_memory_gib(),
        "hub": hub_state(),
        "weights_folder": weights_folder(),
        "hub_cache": hub_cache(),
        "weights_here": weights_here(),
        "decoders": decoders(),
        "speed": speeds(),
    }


def core_quota() -> float | None:
    """Return how many cores' worth of time a container grants; None where it sets no limit."""
    words = _read("/sys/fs/cgroup/cpu.max").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return int(words[0]) / int(words[1])


def free_memory_gib() -> float | None:
    """Return the memory that can be had, in GiB: the machine's, or what a container has left of its limit."""
    found = [line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemAvailable:")]
    if not found:
        return None
    free = int(found[0]) * 1024
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        free = min(free, int(limit) - int(used))
    return round(free / GIB, 1)


def shared_memory_gib() -> float | None:
    """Return the size of /dev/shm, through which workers hand over images; None where there is none."""
    return round(shutil.disk_usage("/dev/shm").total / GIB, 2) if Path("/dev/shm").is_dir() else None


def hub_state() -> str:
    """Return "reachable", "offline by choice" or "not reachable", within a few seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return "offline by choice (HF_HUB_OFFLINE)"
    return "reachable" if hub_refusal() is None else "not reachable"


def weights_folder() -> str | None:
    """Return the folder that NEOCOG_WEIGHTS names, or None."""
    return os.environ.get("NEOCOG_WEIGHTS") or None


def hub_cache() -> str:
    """Return the folder where the hub's client keeps what it has fetched."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return str(HF_HUB_CACHE)


def weights_here() -> list[str]:
    """Return the networks with published weights on this machine."""
    from neocog.catalog import describe, list_models, local_file

    return [
        name for name in list_models(weights=True) if any(local_file(weights) for weights in describe(name).weights)
    ]


def decoders() -> dict[str, bool]:
    """Return which kinds of image files can be opened."""
    from PIL import features

    kinds = {
        "jpeg": "jpg",
        "png": "zlib",
        "webp": "webp",
        "tiff": "libtiff",
        "jpeg 2000": "jpg_2000",
        "avif": "avif",
    }
    return {kind: bool(features.check(feature)) for kind, feature in kinds.items()}


def speeds() -> dict[str, dict[str, float]]:
    """Return the speed of a matrix product and a convolution in float32 and bf16, in 1e9 MACs a second.

    The convolution is one of ResNet-50's (64 channels, 3x3, at 56x56), channels-last, as training runs it.
    """
    import torch
    from torch.nn import functional as F

    side = 1024
    found: dict[str, dict[str, float]] = {"matmul": {}, "convolution": {}}
    with torch.inference_mode():
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            left, right = torch.randn(2, side, side).to(dtype)
            images = torch.randn(8, 64, 56, 56).to(dtype, memory_format=torch.channels_last)
            filters = torch.randn(64, 64, 3, 3).to(dtype, memory_format=torch.channels_last)

            def product(left: torch.Tensor = left, right: torch.Tensor = right) -> object:
                return left @ right

            def convolution(images: torch.Tensor = images, filters: torch.Tensor = filters) -> object:
                return F.conv2d(images, filters, padding=1)

            found["matmul"][name] = rate(product, side**3)
            found["convolution"][name] = rate(convolution, 8 * 64 * 64 * 9 * 56 * 56)
    return found


def rate(work: Callable[[], object], macs: int) -> float:
    """Return how many 1e9 multiply-adds per second `work`, which does `macs` of them, gets through."""
    work()
    began, times = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < SECONDS_PER_SPEED:
        work()
        times += 1
    return round(times * macs / elapsed / 1e9, 1)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
