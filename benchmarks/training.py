"""Training on photographs: neocog beside timm's parts in the loop of its script, and torchvision's reference loop.

    python benchmarks/training.py ../shared/data/ants_bees/train resnet50
    python benchmarks/training.py ../shared/data/ants_bees/train mobilenetv2_100 --batch 32
    python benchmarks/training.py ../shared/data/ants_bees/train vit_small_patch16_224 --pairs 10
    python benchmarks/training.py ../shared/data/ants_bees/train resnet50 --parts       # what each part of the gain is
    python benchmarks/training.py ../shared/data/ants_bees --accuracy WEIGHTS --epochs 3

All train the same network from the same weights on the same files with SGD (rate 0.01, momentum 0.9, decay 1e-4), crops
of random area and mirroring, in one process, with the same threads and the same number of workers. They take turns of
some steps, and each turn of neocog's with one of another's gives a ratio; a step is all from getting the batch to the
updated weights. neocog runs as `neocog train` would: channels-last, bf16 where the processor computes in it, the fused
optimiser, photographs from the cache, huge pages, and with --keep-memory the allocator's settings; the last two are
undone for the others' turns. timm's side is `create_loader` and `create_optimizer_v2` with the defaults of its
train.py, but for what would make it another recipe (colour jitter, a random filter, Nesterov's momentum, biases without
decay); torchvision's is the transforms, the sampler and the loop of its reference script.

`--parts` runs neocog against itself with one thing changed to what the others have. `--accuracy` trains
MobileNetV2 with all three on ants and bees from the same ImageNet weights and measures them on the validation images
in the same way, one seed after another. Memory is the most that the allocator held in a step, above what was held.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from neocog._machine import use_huge_pages

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler speaks of the GPUs that it has not found
use_huge_pages()  # as the command line does, before torch is imported; the others' turns go without

import torch  # noqa: E402
from pairs import interleave, machine, with_huge_pages  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from training_sides import MEAN, OTHERS, STD, Setting, Steps, neocog_steps  # noqa: E402
from zoo import peak_bytes  # noqa: E402

from neocog import create_model  # noqa: E402
from neocog.data.augment import Augmentation  # noqa: E402
from neocog.data.loading import evaluation_batches, training_batches  # noqa: E402
from neocog.data.preprocess import Preprocessing  # noqa: E402
from neocog.data.sources import load_split  # noqa: E402
from neocog.data.table import Split  # noqa: E402
from neocog.train.allocator import keep_freed_memory  # noqa: E402
from neocog.train.environment import available_cores  # noqa: E402
from neocog.train.precision import computes_in_bf16  # noqa: E402
from neocog.train.supervised import SupervisedTask  # noqa: E402


def turn(steps: Steps, count: int, *, huge: bool = True, keep: bool = False) -> Callable[[], object]:
    """Return a call that makes `count` steps, with huge pages or not, and with what is freed kept or not."""

    def call() -> None:
        if keep:
            keep_freed_memory()
        for _ in range(count):
            next(steps)
        if keep:
            give_freed_memory_back()

    return with_huge_pages(call, huge)


def give_freed_memory_back() -> None:
    """Undo `keep_freed_memory`: glibc's own settings, and all that is free back to the system."""
    library = ctypes.CDLL(None)
    library.mallopt(-4, 65536)
    library.mallopt(-1, 128 << 10)
    library.malloc_trim(0)


def compare_speed(setting: Setting, options: argparse.Namespace) -> None:
    """Print how many times as fast neocog is, and the memory of a step on each side."""
    for label, build in OTHERS.items():
        (network, ours), (their_network, theirs) = neocog_steps(setting), build(setting)
        found = interleave(
            turn(ours, options.steps, keep=options.keep_memory),
            turn(theirs, options.steps, huge=False),
            options.pairs,
            1,
        )
        rates = [
            options.steps * setting.batch / sorted(times)[len(times) // 2] for times in (found.first, found.second)
        ]
        peaks = [
            peak_bytes(each, lambda steps=steps: next(steps))
            for each, steps in ((network, ours), (their_network, theirs))
        ]
        print(
            f"{setting.name} against {label}: {found}\n  images/s {rates[0]:.1f} and {rates[1]:.1f}, "
            f"memory of a step {peaks[0] / 2**20:.0f} and {peaks[1] / 2**20:.0f} MiB",
            flush=True,
        )


def compare_parts(setting: Setting, options: argparse.Namespace) -> None:
    """Print what neocog loses where one thing is as the others have it."""
    from dataclasses import replace

    changes = {
        "NCHW": replace(setting, channels_last=False),
        "no fused optimiser": replace(setting, fused=False),
        "no cache": replace(setting, cache=None),
    }
    if setting.precision == "bf16":
        changes["float32"] = replace(setting, precision="fp32")
    for label, changed in changes.items():
        (_, ours), (_, theirs) = neocog_steps(setting), neocog_steps(changed)
        keep = options.keep_memory
        found = interleave(
            turn(ours, options.steps, keep=keep), turn(theirs, options.steps, keep=keep), options.pairs, 1
        )
        print(f"{setting.name}, whole against {label}: {found}", flush=True)
    (_, ours), (_, theirs) = neocog_steps(setting), neocog_steps(setting)
    found = interleave(turn(ours, options.steps), turn(theirs, options.steps, huge=False), options.pairs, 1)
    print(f"{setting.name}, whole against no huge pages: {found}", flush=True)
    found = interleave(turn(ours, options.steps, keep=True), turn(theirs, options.steps), options.pairs, 1)
    print(f"{setting.name}, keeping freed memory against whole: {found}", flush=True)


def compare_accuracy(options: argparse.Namespace, cache: Path, precision: str) -> None:
    """Train with all three from the same weights, and print what each reaches on the validation images."""
    folder, validation = options.folder / "train", load_split(options.folder / "val", split="all")
    for seed in range(options.seeds):
        setting = Setting(
            "mobilenetv2_100", folder, 2, batch=options.batch, workers=options.workers, seed=seed,
            epochs=options.epochs, precision=precision, cache=cache, state=unfolded(options.accuracy, folder, seed),
        )  # fmt: skip
        for label, build in {"neocog": neocog_steps, **OTHERS}.items():
            network, steps = build(setting)
            count = sum(1 for _ in steps)
            print(f"seed {seed}, {label}: {count} steps, {accuracy(network, validation):.2f} %", flush=True)


def unfolded(weights: Path, folder: Path, seed: int) -> dict[str, Tensor]:
    """Return the weights with the statistics that `SupervisedTask.prepare` gives norms which came without them."""
    torch.manual_seed(seed)
    task = SupervisedTask(create_model("mobilenetv2_100", num_classes=2, weights=weights))
    look = Preprocessing(size=(224, 224), interpolation="bilinear", mean=MEAN, std=STD)
    task.prepare(training_batches(load_split(folder, split="all"), look, Augmentation(), batch_size=32, seed=seed))
    return {name: tensor.clone() for name, tensor in task.network.state_dict().items()}


@torch.inference_mode()
def accuracy(network: nn.Module, split: Split) -> float:
    """Return the per cent of images that a network has right."""
    look = Preprocessing(size=(224, 224), interpolation="bilinear", mean=MEAN, std=STD)
    network.eval()
    right = [network(b.images).argmax(1) == b.targets for b in evaluation_batches(split, look, batch_size=32)]
    return 100 * torch.cat(right).float().mean().item()


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?", default="resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2, help="of each turn")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--keep-memory", action="store_true")
    parser.add_argument("--compile", action="store_true", help="neocog's side as with --set compile=true")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--accuracy", type=Path, metavar="WEIGHTS")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(available_cores())
    precision = options.precision
    if precision == "auto":
        precision = "bf16" if computes_in_bf16("cpu") else "fp32"
    print(f"{machine()}\nbatch {options.batch}, {options.workers} workers, neocog in {precision}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        if options.accuracy:
            compare_accuracy(options, Path(place), precision)
            return
        classes = len([each for each in options.folder.iterdir() if each.is_dir()])
        import timm

        torch.manual_seed(0)
        state = timm.create_model(options.name, num_classes=classes).state_dict()
        setting = Setting(
            options.name, options.folder, classes, batch=options.batch, workers=options.workers, precision=precision,
            cache=Path(place), state=state, compiled=options.compile,
        )  # fmt: skip
        (compare_parts if options.parts else compare_speed)(setting, options)


if __name__ == "__main__":
    main()
