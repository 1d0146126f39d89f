"""The way from encoded images to batches: what it costs, against timm's, and its share of a training step.

    python benchmarks/data_path.py small ../shared/data/cifar10
    python benchmarks/data_path.py photos ../shared/data/photos
    python benchmarks/data_path.py photos ../shared/data/photos --workers 2
    python benchmarks/data_path.py photos ../shared/data/photos --jitter 0

`small` decodes a small-image set into memory, crops (padded by 4) and mirrors it in batches, and trains ResNet-20 with
`fit`; the last line is the share of its steps that went into loading, augmenting and normalising, median and 95 %
interval over the steps.

`photos` takes the photographs of a folder, repeated to 2,000 files, to normalised float32 batches of 224 x 224, one
epoch at a time, in turn with timm's `create_loader`, which is given what its train.py gives it by default: crops of
0.08 to 1 of the area and 3/4 to 4/3 in ratio with a random interpolation, bilinear or bicubic, flips of half of the
images, colour jitter of 0.4, its prefetcher, unpinned memory. neocog draws from the same distributions; all its crops
are bicubic, the slower of the two. Both have the same number of workers (0: the process itself, in one thread).
Images/s are stated per core. The first comparison decodes the files, the second reads them from a cache, which is
built before and whose time and size are printed.

Times are those of the machine as it is; run it when nothing else does.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median

from neocog._machine import use_huge_pages

use_huge_pages()  # as the command line does, before torch is imported; timm's turns go without

import torch  # noqa: E402
from pairs import interleave, machine, with_huge_pages  # noqa: E402

from neocog import create_model  # noqa: E402
from neocog.data.augment import Augmentation, augment, draw  # noqa: E402
from neocog.data.cache import PhotoCache, cache_side, open_cache  # noqa: E402
from neocog.data.keys import hash_key  # noqa: E402
from neocog.data.loading import measure_mean_std, training_batches  # noqa: E402
from neocog.data.memory import decode  # noqa: E402
from neocog.data.preprocess import Preprocessing  # noqa: E402
from neocog.data.sources import load_split  # noqa: E402
from neocog.data.table import Split  # noqa: E402
from neocog.train.environment import available_cores  # noqa: E402
from neocog.train.fit import fit  # noqa: E402
from neocog.train.precision import computes_in_bf16  # noqa: E402
from neocog.train.recipe import Recipe  # noqa: E402
from neocog.train.supervised import SupervisedTask  # noqa: E402

PAD_AND_FLIP = Augmentation(crop="pad")
BATCH = 128
SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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


def measure_photos(folder: str, options: argparse.Namespace) -> None:
    """Measure photographs against timm, without and with a cache."""
    if not options.workers:
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        root = repeated(Path(folder), Path(place, "photographs"), options.images)
        split = load_split(root, split="all")
        look = Preprocessing(size=(SIZE, SIZE), interpolation="bicubic", mean=MEAN, std=STD)
        vary = Augmentation(brightness=options.jitter, contrast=options.jitter, saturation=options.jitter)
        start = time.perf_counter()
        cache = open_cache(split, cache_side(look), workers=options.workers, root=Path(place, "cache"))
        print(f"{cache}: built in {time.perf_counter() - start:.1f} s with {options.workers} workers", flush=True)

        theirs = timm_epoch(root, options)
        cores = max(1, min(options.workers, available_cores()))
        images = len(split) // options.batch * options.batch
        for name, found in (("decoding", None), ("from the cache", cache)):
            epoch = neocog_epoch(split, look, vary, found, options)
            comparison = interleave(
                with_huge_pages(epoch, True), with_huge_pages(theirs, False), options.pairs, warmup=1
            )
            ours, other = (images / median(times) / cores for times in (comparison.first, comparison.second))
            print(f"{name}: {ours:,.0f} images/s per core, timm {other:,.0f}: {comparison}", flush=True)


def repeated(source: Path, root: Path, number: int) -> Path:
    """Make a folder of `number` files, links to those of `source`, with a class for each of those."""
    files = sorted(path.resolve() for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for place in range(number):
        link = root / f"class{place % len(files):04d}" / f"{place}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(files[place % len(files)])
    return root


def neocog_epoch(
    split: Split, look: Preprocessing, vary: Augmentation, cache: PhotoCache | None, options: argparse.Namespace
) -> Callable[[], object]:
    """Return a call that goes through another epoch of neocog's batches."""
    batches = training_batches(split, look, vary, batch_size=options.batch, workers=options.workers, cache=cache)
    epochs = count()
    return lambda: sum(len(step) for step in batches.steps(next(epochs)))


def timm_epoch(root: Path, options: argparse.Namespace) -> Callable[[], object]:
    """Return a call that goes through another epoch of the batches that timm's train.py makes."""
    from timm.data import create_dataset, create_loader

    loader = create_loader(
        create_dataset("", root=str(root), split="train", is_training=True, batch_size=options.batch),
        input_size=(3, SIZE, SIZE),
        batch_size=options.batch,
        is_training=True,
        use_prefetcher=True,
        no_aug=False,
        re_prob=0.0,
        re_mode="pixel",
        re_count=1,
        re_split=False,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        hflip=0.5,
        vflip=0.0,
        color_jitter=options.jitter,
        auto_augment=None,
        num_aug_repeats=0,
        num_aug_splits=0,
        interpolation="random",
        mean=MEAN,
        std=STD,
        num_workers=options.workers,
        distributed=False,
        collate_fn=None,
        pin_memory=False,
        device=torch.device("cpu"),
        use_multi_epochs_loader=False,
        worker_seeding="all",
    )
    return lambda: sum(len(images) for images, _ in loader)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "photos"])
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--jitter", type=float, default=0.4)
    options = parser.parse_args()
    print(machine())
    if options.what == "small":
        measure_small(options.folder, options.steps)
    else:
        measure_photos(options.folder, options)


if __name__ == "__main__":
    main()
