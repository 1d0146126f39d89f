"""The C library's allocator, told how training uses memory."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let the process keep memory that it frees, instead of giving it back to the system and asking again.

    A training step allocates and frees the same activations each time. By default glibc maps every large one anew,
    and the system fills it with zeros, page by page, before the first write: on a CPU that can cost more than the
    smaller layers' arithmetic. The price is a higher peak, because what was freed in pieces cannot always be used
    as one. It holds for the rest of the process; benchmarks/RESULTS.md has both figures.

    Returns:
        Whether the C library is glibc and took the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_M_MMAP_MAX, 0)) and bool(library.mallopt(_M_TRIM_THRESHOLD, -1))
