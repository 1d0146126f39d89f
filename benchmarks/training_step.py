"""Training steps of ResNet-50 and MobileNetV2: neocog's loop against timm's defaults, and against a bare loop.

    python benchmarks/training_step.py resnet50 --batch 32
    python benchmarks/training_step.py mobilenetv2_100 --batch 32

timm's side is what its training script does by default on a CPU: its network, float32, NCHW, its optimiser and loss,
a gradient step. The bare loop is the least that trains neocog's network as neocog does: same precision, layout and
fused optimiser, and nothing else. All take the same random images from memory, so that only the step is compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from pairs import interleave, machine
from torch.nn import functional as F

from neocog import create_model
from neocog.data.loading import Batch
from neocog.train.allocator import keep_freed_memory
from neocog.train.fit import fit
from neocog.train.precision import computes_in_bf16
from neocog.train.recipe import Optimizer, Recipe
from neocog.train.supervised import SupervisedTask

CLASSES = 1000


class SameBatch:
    """One batch of random images, again and again."""

    steps_per_epoch = 10**6
    waited = 0.0

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.batch_size = len(batch.images)

    def steps(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Yield the batch forever."""
        while True:
            yield [self.batch]


def neocog_step(name: str, batch: Batch, precision: str) -> Callable[[], object]:
    """Return a call that makes one step of neocog's `fit`."""
    recipe = Recipe().override({"precision": precision, "optimizer.lr": 1e-3, "epochs": 1})
    network = create_model(name).to(memory_format=torch.channels_last)
    batch = Batch(batch.images.contiguous(memory_format=torch.channels_last), batch.targets, batch.indices)
    states = fit(SupervisedTask(network), SameBatch(batch), recipe)
    return lambda: next(states)


def bare_step(name: str, batch: Batch, precision: str) -> Callable[[], object]:
    """Return a call that makes one step of a hand-written loop with the same arithmetic."""
    network = create_model(name).to(memory_format=torch.channels_last)
    images = batch.images.contiguous(memory_format=torch.channels_last)
    settings = Optimizer()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-3, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
    )

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        F.cross_entropy(logits.float(), batch.targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def timm_step(name: str, batch: Batch) -> Callable[[], object]:
    """Return a call that makes one step as timm's training script does by default."""
    import timm
    from timm.optim import create_optimizer_v2

    network = timm.create_model(name)
    optimizer = create_optimizer_v2(network, opt="sgd", lr=1e-3, weight_decay=2e-5, momentum=0.9)
    criterion = torch.nn.CrossEntropyLoss()

    def step() -> None:
        loss = criterion(network(batch.images), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Compare, and print ratios with their intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["resnet50", "mobilenetv2_100", "resnet18"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--keep-memory", action="store_true", help="for both sides: see neocog.train.allocator")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    options = parser.parse_args()
    precision = options.precision
    if precision == "auto":
        precision = "bf16" if computes_in_bf16("cpu") else "fp32"
    if options.keep_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, options.size, options.size)
    batch = Batch(images, torch.randint(0, CLASSES, (options.batch,)), torch.arange(options.batch))
    print(f"{machine()}\n{options.name}, {options.size} pixels, batch {options.batch}, neocog in {precision}")
    ours = neocog_step(options.name, batch, precision)
    others = {"a bare loop": bare_step(options.name, batch, precision), "timm": timm_step(options.name, batch)}
    for label, other in others.items():
        print(f"neocog against {label}: {interleave(ours, other, options.pairs)}", flush=True)


if __name__ == "__main__":
    main()
