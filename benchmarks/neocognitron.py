"""What the Neocognitron learns of MNIST by itself, and how well it bears shifts.

    python benchmarks/neocognitron.py ../shared/data/mnist

For both networks of the catalog: the accuracy of its own learning alone (no labels but to name the planes of the last
layer), of a linear read-out of the last C-cells and one of all C-cells, beside a linear classifier of the pixels. Then
the same with test digits shifted by 0 to 6 pixels of 28, in each of the four directions; the digits' own margin is 4
pixels, so that beyond it some of the ink is lost. All read-outs are fitted to the same labelled images, unshifted.

    python benchmarks/neocognitron.py ../shared/data/mnist --choose

is how the sizes of `neocognitron_mnist` were chosen: its own learning alone, with one field changed at a time, on
images of the training split that it was not shown. The test images play no part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from neocog.data.memory import decode
from neocog.data.preprocess import Preprocessing
from neocog.data.sources import load_split
from neocog.models import create_model, tap
from neocog.models.neocognitron import CONFIGS, Neocognitron

DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))
Classify = Callable[[Tensor], Tensor]


def digits(folder: Path, split: str, count: int) -> tuple[Tensor, Tensor]:
    """Return the first images of a split, `(N, 1, 28, 28)` in [0, 1], and their classes."""
    found = load_split(folder, split=split).select(range(count))
    plain = Preprocessing(size=(28, 28), fit="pad", mean=(0.0,), std=(1.0,), channels=1)
    return decode(found, plain).float() / 255, found.targets()


def resized(images: Tensor, size: int) -> Tensor:
    """Return the images at another size."""
    return images if size == 28 else F.interpolate(images, (size, size), mode="bilinear", antialias=True)


def shifted(images: Tensor, pixels: int, direction: tuple[int, int]) -> Tensor:
    """Return the images moved; what leaves is lost."""
    down, right = (pixels * step for step in direction)
    return F.pad(images, (right, -right, down, -down))


def linear(features: Tensor, targets: Tensor, epochs: int = 10) -> Classify:
    """Return a linear classifier fitted to features, by AdamW on cross entropy."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(features.shape[1], 10)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=5e-3, weight_decay=1e-2)
    steps = len(features) // 50
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(features)).split(50)[:steps]:
            optimizer.zero_grad()
            F.cross_entropy(layer(features[rows]), targets[rows]).backward()
            optimizer.step()
            schedule.step()
    return lambda x: layer(x).argmax(1)


@torch.no_grad()
def c_cells(network: Neocognitron, images: Tensor) -> list[Tensor]:
    """Return the outputs of UC1, UC2 and UC3."""
    images = resized(images, network.config.image_size)
    found = []
    for block in images.split(100):
        with tap(network, ["uc1", "uc2", "uc3"]) as seen:
            network(block)
        found.append([seen[name].flatten(1) for name in ("uc1", "uc2", "uc3")])
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


def own(network: Neocognitron, cells: Tensor) -> Tensor:
    """Return what the named planes say, -1 where none answers."""
    scores = network.head(cells)
    return torch.where(scores.amax(1) > 0, scores.argmax(1), -1)


CHANGES: tuple[dict[str, object], ...] = (
    {},
    {"planes": (12, 64, 1000)},
    {"planes": (24, 32, 1000)},
    {"planes": (24, 96, 1000)},
    {"planes": (24, 64, 300)},
    {"planes": (24, 64, 1500)},
    {"last_area": 5},
    {"r": (2.0, 1.5, 2.0)},
    {"r": (2.0, 1.5, 4.0)},
    {"r": (2.0, 2.0, 3.0)},
    {"r_learning": (2.0, 1.5, 5.0)},
    {"r_learning": (2.0, 1.5, 9.0)},
)
"""Edits of `neocognitron_mnist` that `--choose` compares."""


def choose(images: Tensor, targets: Tensor, shown: int, labelled: int) -> None:
    """Print what own learning reaches on images beyond the first `labelled`, for each of `CHANGES`."""
    print(f"per cent right of {len(images) - labelled:,} training images that were not shown, own learning")
    for changes in CHANGES:
        network = Neocognitron(replace(CONFIGS["neocognitron_mnist"], **changes)).eval()
        network.init_weights()
        network.self_organise(images[:shown])
        network.assign_classes(images[:labelled], targets[:labelled])
        answers = own(network, c_cells(network, images[labelled:])[2])
        right = 100 * (answers == targets[labelled:]).float().mean()
        print(f"  {right:6.1f}  {changes or 'as in the catalog'}", flush=True)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shown", type=int, default=3000, help="images shown without labels")
    parser.add_argument("--labelled", type=int, default=6000, help="images that name planes and fit read-outs")
    parser.add_argument("--test", type=int, default=4000)
    parser.add_argument("--shifts", type=int, default=400, help="of the test images, those that are shifted")
    parser.add_argument("--models", nargs="*", default=["neocognitron_1980", "neocognitron_mnist"])
    parser.add_argument("--choose", action="store_true", help="compare sizes on held-out training images instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.choose:
        held_out = digits(options.folder, "train", options.labelled + options.test)
        return choose(*held_out, options.shown, options.labelled)
    images, targets = digits(options.folder, "train", options.labelled)
    test, wanted = digits(options.folder, "test", options.test)

    readers: dict[str, Callable[[Tensor], dict[str, Tensor]]] = {}
    pixels = linear(images.flatten(1), targets)
    readers["pixels"] = lambda x: {"linear": pixels(x.flatten(1))}
    for name in options.models:
        network = create_model(name).eval()
        assert isinstance(network, Neocognitron)
        began = time.process_time()
        network.self_organise(resized(images[: options.shown], network.config.image_size))
        seconds = time.process_time() - began
        used = [int((layer.inhibition > 0).sum()) for layer, _ in network.modules_of_figure_2]
        print(
            f"{name}: {options.shown:,} images shown in {seconds:.0f} s of one core; planes in use {used}", flush=True
        )
        cells = c_cells(network, images)
        network.assign_classes(resized(images, network.config.image_size), targets)
        last, everything = linear(cells[2], targets), linear(torch.cat(cells, 1), targets)

        def read(x: Tensor, network: Neocognitron = network, last: Classify = last, everything: Classify = everything
                 ) -> dict[str, Tensor]:  # fmt: skip
            cells = c_cells(network, x)
            return {
                "own learning": own(network, cells[2]),
                "linear, last C-cells": last(cells[2]),
                "linear, all C-cells": everything(torch.cat(cells, 1)),
            }

        readers[name] = read

    print(f"\nper cent of {len(test):,} test images right, unshifted")
    for name, reader in readers.items():
        for how, answers in reader(test).items():
            print(f"  {name:<20}{how:<22}{100 * (answers == wanted).float().mean():6.1f}", flush=True)
    few, answer = test[: options.shifts], wanted[: options.shifts]
    print(f"\nper cent of {len(few):,} right, shifted by 0 to 6 pixels (mean over four directions)")
    for name, reader in readers.items():
        rows: dict[str, list[float]] = {}
        for shift in range(7):
            sums: dict[str, float] = {}
            for direction in DIRECTIONS if shift else DIRECTIONS[:1]:
                for how, found in reader(shifted(few, shift, direction)).items():
                    sums[how] = sums.get(how, 0.0) + (found == answer).float().mean().item()
            for how, total in sums.items():
                rows.setdefault(how, []).append(100 * total / (4 if shift else 1))
        for how, row in rows.items():
            print(f"  {name:<20}{how:<22}" + "".join(f"{value:6.1f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
