"""How time and memory of a piece of work are taken, on a CPU and on a GPU, and what a row of times says."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

LEAST_RUNS = 6
"""Fewer than these have no 95 % interval of their median: in 1 case of 16 all five of five lie on one side of it."""


def elapsed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that `work` takes, begun on an idle device and waited for.

    On a GPU the clock is the device's own: from the moment at which it could begin to the end of the last kernel, the
    waiting for the CPU to launch them included.
    """
    if device.type != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1000


def median_interval(times: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median of what `times` were drawn from, by order statistics.

    The k-th least and the k-th greatest of n draws enclose the median unless fewer than k fall on one of its sides,
    which is a question of n throws of a coin, whatever the distribution. k is the greatest that leaves 95 % or more;
    of fewer than six draws, for which there is none, the interval is the whole range.
    """
    ordered = sorted(times)
    count = len(ordered)
    outside, rank = 0.0, 0
    while rank < (count - 1) // 2:
        outside += math.comb(count, rank) / 2**count
        if 2 * outside > 0.05:
            break
        rank += 1
    place = max(rank - 1, 0)
    return ordered[place], ordered[count - 1 - place]


def peak_growth(work: Callable[[], object], device: torch.device) -> int | None:
    """Return by how many bytes memory grows while `work` runs, at its most, beyond what is held before.

    On a GPU that is what torch allocates. On a CPU it is this process's resident memory, as the kernel counts it,
    after the heap has given back to the system what it holds in reserve: tensors, and the libraries' work space. None
    where the system does not tell (all but Linux).
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    try:
        # Else memory that the heap kept from the last run would be used again, and count as nothing.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets the high-water mark to what is now held
        before = _resident("VmRSS")
        work()
        return max(_resident("VmHWM") - before, 0)
    except (OSError, AttributeError, LookupError):
        return None


def _resident(field: str) -> int:
    """Return a field of this process's status that is given in kilobytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(dict(line.split(":", 1) for line in lines)[field].split()[0])
