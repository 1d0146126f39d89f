"""What the machine lets this process use."""

from __future__ import annotations

import os
import sys


def available_cores() -> int:
    """Return how many cores this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_huge_pages() -> None:
    """Let torch ask the system for pages of 2 MB instead of 4 KB for its tensors; call it before torch is imported.

    A training step maps its activations anew each time, and the system hands them over page by page, filled with zeros.
    On Linux torch asks for huge pages where this variable says so, and the system grants them where
    `/sys/kernel/mm/transparent_hugepage/enabled` is "madvise" or "always". A value that is already there stays, so
    that `THP_MEM_ALLOC_ENABLE=0` turns it off. benchmarks/huge_pages.py measures what it gains.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
