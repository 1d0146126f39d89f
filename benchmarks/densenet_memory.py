"""What DenseNet's memory-efficient form saves, and what it costs.

    python benchmarks/densenet_memory.py
    python benchmarks/densenet_memory.py densenet121 --size 224 --batch 8 --pairs 20

One training step each with and without `memory_efficient`, from the same weights. "Held" is what the allocator holds
between the forward and the backward pass, "peak" the most that it holds during a step; both above what was there before
the step, by torch's profiler. Times are interleaved pairs. That both have the same gradients is checked first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from pairs import interleave, machine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from neocog import create_model

SETTINGS = {"densenet121": (128, 8), "densenet40_12": (32, 16), "densenet_bc100_12": (32, 16)}
"""Size and batch of each network, unless they are given."""


def traffic(call: Callable[[], object]) -> list[int]:
    """Return the bytes that each event of the allocator took, or gave back, in order."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def held_and_peak(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """Return the bytes between the two passes, and the most of a step."""
    step(network, images)
    kept: list[Tensor] = []
    held = sum(traffic(lambda: kept.append(network(images))))
    kept.clear()
    network.zero_grad(set_to_none=False)  # gradients are there before and after
    total = peak = 0
    for taken in traffic(lambda: loss(network, images).backward()):
        total += taken
        peak = max(peak, total)
    return held, peak


def loss(network: nn.Module, images: Tensor) -> Tensor:
    """Return the loss of a pass in training mode."""
    return F.cross_entropy(network(images), torch.arange(len(images)) % 10)


def step(network: nn.Module, images: Tensor) -> None:
    """Make a step but for the optimiser's part."""
    network.zero_grad(set_to_none=True)
    loss(network, images).backward()


def compare(name: str, size: int, batch: int, pairs: int) -> None:
    """Print a line for one network."""
    images = torch.randn(batch, 3, size, size)
    plain = create_model(name, num_classes=10, dropout=0.0)
    efficient = create_model(name, num_classes=10, dropout=0.0, memory_efficient=True)
    efficient.load_state_dict(plain.state_dict())
    for network in (plain, efficient):
        step(network, images)
    for one, other in zip(plain.parameters(), efficient.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-2, atol=1e-3 * float(one.grad.abs().max()))
    (held, peak), (less_held, less_peak) = (held_and_peak(network, images) for network in (plain, efficient))
    times = interleave(lambda: step(plain, images), lambda: step(efficient, images), pairs, warmup=1)
    low, high = times.interval
    print(
        f"{name}, batch {batch} of {size} pixels: held {held / 2**20:.0f} -> {less_held / 2**20:.0f} MiB "
        f"({less_held / held:.2f}), peak {peak / 2**20:.0f} -> {less_peak / 2**20:.0f} MiB ({less_peak / peak:.2f}), "
        f"time {times.ratio:.2f} [{low:.2f}, {high:.2f}] over {pairs} pairs"
    )


def main() -> None:
    """Compare, network by network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SETTINGS))
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--pairs", type=int, default=10)
    options = parser.parse_args()
    torch.manual_seed(0)
    print(machine())
    for name in options.names:
        size, batch = SETTINGS.get(name, (128, 8))
        compare(name, options.size or size, options.batch or batch, options.pairs)


if __name__ == "__main__":
    main()
