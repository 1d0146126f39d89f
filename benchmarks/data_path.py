"""The way from encoded images to batches: what it costs, and its share of a training step.

    python benchmarks/data_path.py small ../shared/data/cifar10
    python benchmarks/data_path.py photos ../shared/data/ants_bees

`small` decodes a small-image set into memory, crops (padded by 4) and mirrors it in batches, and trains ResNet-20 with
`fit`; the last line is the share of its steps that went into loading, augmenting and normalising, median and 95 %
interval over the steps. `photos` streams a folder's training images as `quick` does, without and with a worker.
Times are those of the machine as it is; run it when nothing else does.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from statistics import median

import torch
from pairs import interleave, machine

from neocog import create_model
from neocog.data.augment import Augmentation, augment, draw
from neocog.data.keys import hash_key
from neocog.data.loading import Preprocessing, measure_mean_std, training_batches
from neocog.data.memory import decode
from neocog.data.sources import load_split
from neocog.data.table import Split
from neocog.train.fit import fit
from neocog.train.precision import computes_in_bf16
from neocog.train.recipe import Recipe
from neocog.train.supervised import SupervisedTask

PAD_AND_FLIP = Augmentation(crop="pad")
BATCH = 128


def best(call: Callable[[], object], repeats: int = 50) -> float:
    """Return the least time of a call in seconds, which others on the machine disturb least."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def middle(values: list[float]) -> str:
    """Return the median and its 95 % interval by order statistics, in percent."""
    ordered = sorted(values)
    half = 0.98 * math.sqrt(len(ordered))
    low = ordered[max(0, math.floor(len(ordered) / 2 - half))]
    high = ordered[min(len(ordered) - 1, math.ceil(len(ordered) / 2 + half) - 1)]
    return f"{100 * median(ordered):.2f} %  [{100 * low:.2f}, {100 * high:.2f}]  over {len(ordered)} steps"


def measure_small(folder: str, steps: int) -> None:
    """Measure the path of small images."""
    split = load_split("cifar10", data_dir=folder, split="train")
    look = Preprocessing(size=(32, 32), fit="squash", mean=(0.0,) * 3, std=(1.0,) * 3)
    start = time.perf_counter()
    pixels = decode(split, look)
    print(f"decoded {len(pixels):,} images into {pixels.nbytes / 2**20:.0f} MiB in {time.perf_counter() - start:.1f} s")
    mean, std = measure_mean_std(split, look)
    print("mean", *(f"{value:.4f}" for value in mean), "deviation", *(f"{value:.4f}" for value in std))

    for size in (BATCH, 1024):
        keys = hash_key(0, 0, torch.arange(size))
        for crop in ("pad", "random_resized"):
            augmentation = Augmentation(crop=crop)

            def vary(size: int = size, augmentation: Augmentation = augmentation, keys: torch.Tensor = keys) -> None:
                augment(pixels[:size], draw(keys, augmentation), augmentation, "bilinear")

            print(f"crop {crop!r} and flip, batches of {size}: {size / best(vary):,.0f} images/s")
    measure_share(split, look.model_copy(update={"mean": mean, "std": std}), steps)


def measure_share(split: Split, look: Preprocessing, steps: int) -> None:
    """Train ResNet-20 and print the data path's share of each step."""
    precision = "bf16" if computes_in_bf16("cpu") else "fp32"
    recipe = Recipe(model="resnet20", epochs=10, batch_size=BATCH, augment=PAD_AND_FLIP, precision=precision)
    torch.manual_seed(0)
    network = create_model("resnet20", num_classes=10).to(memory_format=torch.channels_last)
    batches = training_batches(split, look, PAD_AND_FLIP, batch_size=BATCH, channels_last=True)
    shares, times, waited, start = [], [], 0.0, 0.0
    for state in fit(SupervisedTask(network), batches, recipe):
        if state.step > 5:  # the first ones prepare memory and kernels
            times.append(time.perf_counter() - start)
            shares.append((batches.waited - waited) / times[-1])
        start, waited = time.perf_counter(), batches.waited
        if len(times) == steps:
            break
    print(f"ResNet-20 in {precision}: {1000 * median(times):.1f} ms a step of {BATCH}; getting data: {middle(shares)}")


def measure_photos(folder: str, pairs: int) -> None:
    """Measure photographs, and what decoding JPEGs at a lower resolution gains where it can."""
    split = load_split(folder, split="train")
    look = Preprocessing(size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    epochs = {}
    for workers in (0, 1):
        batches = training_batches(split, look, Augmentation(), batch_size=32, workers=workers, channels_last=True)
        images = batches.steps_per_epoch * batches.batch_size

        def epoch(batches: object = batches) -> None:
            for _ in batches.steps(0):
                pass

        epochs[workers] = epoch
        print(f"{workers} workers: {images / best(epoch, 3):,.0f} images/s", flush=True)
    print(f"a worker against none: {interleave(epochs[1], epochs[0], pairs)}")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "photos"])
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=20)
    options = parser.parse_args()
    print(machine())
    if options.what == "small":
        measure_small(options.folder, options.steps)
    else:
        measure_photos(options.folder, options.pairs)


if __name__ == "__main__":
    main()
