"""`machine_peak`: the most floating-point operations a second that this machine was seen to do.

What a network achieves means little without what it could achieve here. Data sheets name a rate for a clock and a
number of cores that a process may not have; a large matrix product, the work that libraries do best, is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from neocog.analysis._clock import elapsed

Precision = Literal["fp32", "bf16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

SIDES = (256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
SECONDS_PER_SIDE = 0.05
LONGEST = 0.1  # seconds: a product that would take longer is left out, since smaller ones have reached the peak
BURST = 10  # products that are launched together on a GPU, so that launching is not what is measured


@dataclass(frozen=True)
class Peak:
    """The fastest of the square matrix products that were tried.

    Attributes:
        flops: floating-point operations a second, two a multiply-add.
        side: rows and columns of the matrices at which it was reached.
        precision: of their numbers.
        device: where.
        threads: of the CPU.
        tf32: whether float32 was rounded to TensorFloat-32 within the product, as convolutions then do too.
    """

    flops: float
    side: int
    precision: Precision
    device: str
    threads: int
    tf32: bool = False


def machine_peak(precision: Precision = "fp32", device: str = "cpu") -> Peak:
    """Return the largest rate of a matrix product, measured for some tenths of a second, once a process.

    Other work on the machine can only slow a product down, so the fastest of many is taken. The number of threads is
    torch's at the time; with another one it is measured anew.

    Args:
        precision: of the factors: "fp32" or "bf16".
        device: "cpu", "cuda" or "cuda:N".
    """
    return _measured(precision, device, torch.get_num_threads(), precision == "fp32" and uses_tf32(device))


def uses_tf32(device: str) -> bool:
    """Say whether float32 products or convolutions on `device` may be rounded to TensorFloat-32.

    On NVIDIA GPUs torch lets convolutions do so and matrix products not, unless told otherwise.
    """
    if torch.device(device).type != "cuda":
        return False
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    return "tf32" in (convolutions.fp32_precision, torch.backends.cuda.matmul.fp32_precision)


@cache
def _measured(precision: Precision, device: str, threads: int, tf32: bool) -> Peak:
    place = torch.device(device)
    burst = BURST if place.type == "cuda" else 1
    best, side_of_best, last = 0.0, 0, (0, 0.0)
    with torch.inference_mode(), _product_precision(tf32):
        for side in SIDES:
            if last[0] and last[1] * (side / last[0]) ** 3 > LONGEST:
                break
            left, right = torch.randn(2, side, side, device=place).to(DTYPES[precision])
            out = torch.empty_like(left)

            def products(left: torch.Tensor = left, right: torch.Tensor = right, out: torch.Tensor = out) -> None:
                for _ in range(burst):
                    torch.mm(left, right, out=out)

            shortest = _shortest(products, place) / burst
            rate = 2 * side**3 / shortest
            if rate > best:
                best, side_of_best = rate, side
            last = side, shortest
    return Peak(best, side_of_best, precision, device, threads, tf32)


def _shortest(work: Callable[[], object], device: torch.device) -> float:
    """Return the least of several times of `work`, the first of which does not count."""
    elapsed(work, device)
    spent, times = 0.0, [elapsed(work, device)]
    while spent < SECONDS_PER_SIDE:
        times.append(elapsed(work, device))
        spent += times[-1]
    return min(times)


@contextmanager
def _product_precision(tf32: bool) -> Iterator[None]:
    """Let float32 products be rounded as convolutions are, and set it back."""
    if not tf32:
        yield
        return
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "tf32"
    try:
        yield
    finally:
        settings.fp32_precision = before
