"""What huge pages gain in a training step: the same steps in one process, granted in turn and refused in turn.

    python benchmarks/huge_pages.py resnet50 --batch 16 --size 160
    python benchmarks/huge_pages.py mobilenetv2_100 --batch 32 --size 160

The step is a bare one, channels-last, float32, with a fused optimiser, on the threads that torch takes. What a step
holds is freed before the next, so that each maps its memory anew, as a run does without `keep_memory`.
"""

from __future__ import annotations

import argparse

from neocog._machine import use_huge_pages

use_huge_pages()  # before torch is imported

import torch  # noqa: E402
from pairs import interleave, machine, with_huge_pages  # noqa: E402

from neocog import create_model  # noqa: E402


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--pairs", type=int, default=20)
    options = parser.parse_args()
    print(machine())
    torch.manual_seed(0)
    network = create_model(options.name).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, 0.9, fused=True)
    images = torch.randn(options.batch, 3, options.size, options.size).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 1000, (options.batch,))

    def step() -> None:
        torch.nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    found = interleave(with_huge_pages(step, True), with_huge_pages(step, False), options.pairs)
    print(f"{options.name}, {options.batch} x {options.size}, huge pages against none: {found}")


if __name__ == "__main__":
    main()
