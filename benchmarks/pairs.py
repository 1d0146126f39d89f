"""Interleaved pairs: how every benchmark here compares two things.

On a shared machine an absolute time means little, and two times taken minutes apart hardly more. So A and B take turns
in one process, each pair gives a ratio, and what is reported is the median ratio with its 95 % interval by order
statistics (the ranks between which the median of n draws lies in 95 of 100 cases, whatever their distribution).
"""

from __future__ import annotations

import ctypes
import gc
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Comparison:
    """Times of A and B, pair by pair, in seconds."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """B's time over A's: how many times as fast A is."""
        return sorted(b / a for a, b in zip(self.first, self.second, strict=True))

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """The median's 95 % interval."""
        ratios = self.ratios
        half = 0.98 * math.sqrt(len(ratios))  # 1.96 standard deviations of a binomial with p = 1/2
        low = max(0, math.floor(len(ratios) / 2 - half))
        high = min(len(ratios) - 1, math.ceil(len(ratios) / 2 + half) - 1)
        return ratios[low], ratios[high]

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.ratio:.3f}x  [{low:.3f}, {high:.3f}]  over {len(self.first)} pairs"
            f"  (medians {median(self.first):.4g} s and {median(self.second):.4g} s)"
        )


def interleave(
    first: Callable[[], object], second: Callable[[], object], pairs: int = 20, warmup: int = 2
) -> Comparison:
    """Time `first` and `second` in turn; which goes first alternates from pair to pair."""
    for _ in range(warmup):
        first()
        second()
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    gc.disable()
    for number in range(pairs):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            start = time.perf_counter()
            (first, second)[which]()
            times[which].append(time.perf_counter() - start)
    gc.enable()
    return Comparison(tuple(times[0]), tuple(times[1]))


def with_huge_pages(call: Callable[[], object], wanted: bool) -> Callable[[], object]:
    """Return `call` with huge pages granted or refused for the memory that it asks for (Linux).

    `neocog._machine.use_huge_pages` holds for a process; this turns it off for the turns of others, which would not
    have it otherwise.
    """
    if not sys.platform.startswith("linux"):
        return call
    disable = 41  # PR_SET_THP_DISABLE, of linux/prctl.h

    def within() -> object:
        ctypes.CDLL(None).prctl(disable, int(not wanted), 0, 0, 0)
        try:
            return call()
        finally:
            ctypes.CDLL(None).prctl(disable, 0, 0, 0, 0)

    return within


def machine() -> str:
    """Return the machine in a line, for the results file."""
    import torch

    from neocog.train.environment import available_cores, processor
    from neocog.train.precision import computes_in_bf16

    bf16 = "bf16 in hardware" if computes_in_bf16("cpu") else "no bf16 in hardware"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{processor()}, {available_cores()} cores, {bf16}, {versions}"
