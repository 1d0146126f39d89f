"""Varying small images: images a second, beside torchvision's transforms and a batch handled as airbench does.

    python benchmarks/augmentation.py ../shared/data/cifar10 --threads 2

CIFAR-10 lies decoded in memory, and what is timed is what `training_batches` does for each epoch, batch after batch:

- pad by 2 and by 4 with the image's reflection, crop and mirror in turn, beside black pixels and mirroring at random;
- pad by 4, crop and mirror, as uint8 pixels and as normalised float batches in both memory layouts;
- the policies: RandAugment, TrivialAugment, AutoAugment, after that crop, as uint8 pixels.

torchvision's `transforms.v2` takes one tensor at a time, as in a `Dataset`, without the cost of workers. "airbench" is
the batched way of Keller Jordan's airbench94 (2024), written anew: a set padded beforehand, one masked copy for each of
the 81 shifts, and `torch.where` for the mirror images. Best time of several runs, and the median ratio of interleaved
pairs with its 95 % interval. With one thread the processor's time is taken, which others on the machine disturb less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import torch
from pairs import interleave, machine
from torch import Tensor
from torch.nn.functional import pad

from neocog.data.augment import Augmentation
from neocog.data.loading import training_batches
from neocog.data.memory import MemoryImages, decode
from neocog.data.preprocess import Preprocessing
from neocog.data.sources import load_split
from neocog.data.streaming import Look, Request
from neocog.data.table import Split

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
LOOK = Preprocessing(size=(32, 32), fit="squash", mean=MEAN, std=STD)
POLICIES = ("randaugment", "trivialaugment", "autoaugment")


def rate(call: Callable[[], object], images: int, repeats: int) -> float:
    """Return images a second of the fastest run of a call, which others on the machine disturb least."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = []
    for _ in range(repeats):
        start = clock()
        call()
        times.append(clock() - start)
    return images / min(times)


def ours(pixels: Tensor, augmentation: Augmentation, batch: int, images: int) -> Callable[[], object]:
    """Vary `images` images in batches, as uint8."""
    store = MemoryImages(pixels, Look(LOOK, augmentation))
    order = torch.randperm(len(pixels))[:images].tolist()
    requests = [Request(order[first : first + batch], (0, 0)) for first in range(0, images, batch)]

    def run() -> None:
        for _ in store.fetch(requests):
            pass

    return run


def ours_finished(split: Split, batch: int, images: int, channels_last: bool) -> Callable[[], object]:
    """Make normalised batches of `images` images."""
    batches = training_batches(split, LOOK, Augmentation(crop="pad"), batch_size=batch, channels_last=channels_last)

    def run() -> None:
        steps = batches.steps(0)
        for _ in range(images // batch):
            next(steps)

    return run


def torchvisions(pixels: Tensor, images: int, policy: str | None, normalised: bool) -> Callable[[], object]:
    """Vary one image after the other with torchvision, and stack them."""
    from torchvision.transforms import v2

    steps: list[torch.nn.Module] = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]
    if policy:
        steps.append(
            {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}.get(policy, v2.AutoAugment)()
        )
    if normalised:
        steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    transform = v2.Compose(steps)

    def run() -> None:
        torch.stack([transform(image) for image in pixels[:images]])

    return run


def masked(pixels: Tensor, batch: int, images: int, normalised: bool) -> Callable[[], object]:
    """Vary batches with a masked copy for each shift."""
    source = pixels[:images]
    if normalised:  # as airbench does: once, before training
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
        source = (source / 255 - mean) / std
    padded = pad(source, (4, 4, 4, 4), mode="reflect" if normalised else "constant")

    def epoch() -> Iterator[Tensor]:
        order = torch.randperm(images)
        varied = torch.empty_like(source)
        shifts = torch.randint(0, 9, (images, 2))
        for top in range(9):
            for left in range(9):
                chosen = (shifts[:, 0] == top) & (shifts[:, 1] == left)
                varied[chosen] = padded[chosen, :, top : top + 32, left : left + 32]
        varied = torch.where((torch.rand(images) < 0.5).view(-1, 1, 1, 1), varied.flip(-1), varied)
        for first in range(0, images, batch):
            yield varied[order[first : first + batch]]

    def run() -> None:
        for _ in epoch():
            pass

    return run


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    split = load_split("cifar10", data_dir=options.folder, split="train")
    pixels = decode(split, LOOK)
    few, images = 256, options.images
    print(machine(), f"{options.threads} threads", sep="; ")

    def line(name: str, call: Callable[[], object], count: int) -> None:
        print(f"  {name:44} {rate(call, count, options.repeats):>10,.0f} images/s", flush=True)

    def compare(name: str, first: Callable[[], object], second: Callable[[], object], share: float) -> None:
        result = interleave(first, second, options.pairs)
        low, high = result.interval
        print(
            f"  against {name:36} {share * result.ratio:>10.1f}x  [{share * low:.1f}, {share * high:.1f}]", flush=True
        )

    crop = Augmentation(crop="pad")
    print("pad, crop and mirror, uint8")
    for batch in (128, 512):
        line(f"batches of {batch}", ours(pixels, crop, batch, images), images)
    line("torchvision", torchvisions(pixels, few, None, False), few)
    line("airbench", masked(pixels, 128, images, False), images)
    call = ours(pixels, crop, 128, images)
    compare("torchvision", call, torchvisions(pixels, few, None, False), images / few)
    compare("airbench", call, masked(pixels, 128, images, False), 1)

    print("the same with the image reflected at its border, against black ones around it")
    for border in (2, 4):
        for batch in (128, 1024):
            black = Augmentation(crop="pad", pad=border)
            other = ours(pixels, black, batch, images)
            call = ours(pixels, black.model_copy(update={"border": "reflect", "alternate": True}), batch, images)
            line(f"pad {border}, mirrored in turn, batches of {batch}", call, images)
            print(f"  {'against black, mirrored at random':44} {interleave(call, other, options.pairs)}", flush=True)

    print("pad, crop and mirror, normalised float32")
    for layout in (False, True):
        for batch in (128, 512):
            name = f"batches of {batch}, {'channels last' if layout else 'contiguous'}"
            line(name, ours_finished(split, batch, images, layout), images)
    line("torchvision", torchvisions(pixels, few, None, True), few)
    line("airbench", masked(pixels, 128, images, True), images)
    call = ours_finished(split, 128, images, False)
    compare("torchvision", call, torchvisions(pixels, few, None, True), images / few)
    compare("airbench", call, masked(pixels, 128, images, True), 1)

    print("the same crop and a policy, uint8, batches of 128")
    for policy in POLICIES:
        call = ours(pixels, Augmentation(crop="pad", policy=policy), 128, images)
        line(policy, call, images)
        line(f"{policy}, torchvision", torchvisions(pixels, few, policy, False), few)
        compare("torchvision", call, torchvisions(pixels, few, policy, False), images / few)


if __name__ == "__main__":
    main()
