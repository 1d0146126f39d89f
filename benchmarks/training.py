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
optimiser, photographs from the cache, and with --keep-memory the allocator's settings, which are undone for the others'
turns. timm's side is `create_loader` and `create_optimizer_v2` with the defaults of its train.py, but for what would
make it another recipe (colour jitter, a random filter, Nesterov's momentum, biases without decay); torchvision's is the
transforms, the sampler and the loop of its reference script.

`--parts` runs neocog against itself with one thing changed to what the others have. `--accuracy` trains
MobileNetV2 with all three on ants and bees from the same ImageNet weights and measures them on the validation images
in the same way, one seed after another. Memory is the most that the allocator held in a step, above what was held.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler speaks of the GPUs that it has not found

import torch
from pairs import interleave, machine
from torch import Tensor, nn
from torch.nn import functional as F
from zoo import peak_bytes

from neocog import convert_state_dict, create_model
from neocog.data.augment import Augmentation
from neocog.data.cache import cache_side, open_cache
from neocog.data.loading import evaluation_batches, training_batches
from neocog.data.preprocess import Preprocessing
from neocog.data.sources import load_split
from neocog.data.table import Split
from neocog.train.allocator import keep_freed_memory
from neocog.train.environment import available_cores
from neocog.train.fit import fit
from neocog.train.precision import computes_in_bf16
from neocog.train.recipe import Optimizer, Recipe, Schedule
from neocog.train.supervised import SupervisedTask
from neocog.train.task import Task

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4
TORCHVISION = {"mobilenetv2_100": "mobilenet_v2"}
Steps = Iterator[object]


@dataclass(frozen=True)
class Setting:
    """What all sides share, and what of neocog's is changed."""

    name: str
    folder: Path
    classes: int
    size: int = 224
    batch: int = 16
    workers: int = 1
    seed: int = 0
    epochs: int = 10**6
    precision: str = "fp32"
    channels_last: bool = True
    fused: bool = True
    cache: Path | None = None
    state: dict[str, Tensor] = field(default_factory=dict, hash=False)


class Module(Task):
    """timm's network as a task of neocog's `fit`, for one that is not in the catalog."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch):  # noqa: D102
        from neocog.train.task import TaskLoss

        loss = F.cross_entropy(self.network(batch.images).float(), batch.targets)
        return TaskLoss(loss, {"loss": loss.detach()})


def neocog_steps(setting: Setting) -> tuple[nn.Module, Steps]:
    """Return neocog's network and the steps of its `fit`."""
    network = network_of(setting)
    if setting.channels_last:
        network = network.to(memory_format=torch.channels_last)
    split = load_split(setting.folder, split="all")
    look = Preprocessing(size=(setting.size, setting.size), interpolation="bilinear", mean=MEAN, std=STD)
    cache = open_cache(split, cache_side(look), workers=setting.workers, root=setting.cache) if setting.cache else None
    batches = training_batches(
        split,
        look,
        Augmentation(crop="random_resized", flip=0.5),
        batch_size=setting.batch,
        seed=setting.seed,
        workers=setting.workers,
        channels_last=setting.channels_last,
        cache=cache,
    )
    recipe = Recipe(
        epochs=setting.epochs,
        batch_size=setting.batch,
        seed=setting.seed,
        precision=setting.precision,
        optimizer=Optimizer(name="sgd", lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, decay_all=True),
        schedule=Schedule(name="cosine" if setting.epochs < 10**6 else "constant"),
    )
    task = SupervisedTask(network) if hasattr(network, "head_name") else Module(network)

    def steps() -> Steps:
        for state in fit(task, batches, recipe):
            if not setting.fused:
                for group in state.optimizer.param_groups:
                    group["fused"], group["foreach"] = False, True
            yield state

    return network, steps()


def network_of(setting: Setting) -> nn.Module:
    """Return neocog's network with the common weights, or timm's where the catalog has none of that name."""
    from neocog import list_models

    if setting.name in list_models():
        network: nn.Module = create_model(setting.name, num_classes=setting.classes)
    else:
        import timm

        network = timm.create_model(setting.name, num_classes=setting.classes)
    network.load_state_dict(setting.state)
    return network


def timm_steps(setting: Setting) -> tuple[nn.Module, Steps]:
    """Return timm's network and the steps of its script's loop on a CPU."""
    import timm
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2

    network = timm.create_model(setting.name, num_classes=setting.classes)
    network.load_state_dict(setting.state)
    torch.manual_seed(setting.seed)
    loader = create_loader(
        create_dataset("", str(setting.folder)),
        input_size=(3, setting.size, setting.size),
        batch_size=setting.batch,
        is_training=True,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        color_jitter=0.0,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=setting.workers,
        device=torch.device("cpu"),
    )
    optimizer = create_optimizer_v2(
        network, opt="momentum", lr=RATE, weight_decay=DECAY, momentum=MOMENTUM, filter_bias_and_bn=False
    )  # its "sgd" has Nesterov's momentum and spares biases and norms; here all three do the same
    return network, plain_steps(network, loader, optimizer, setting)


def reference_steps(setting: Setting) -> tuple[nn.Module, Steps]:
    """Return torchvision's network, or the same where it has none, and the steps of its reference script's loop."""
    import torchvision
    from torch.utils.data import DataLoader, RandomSampler
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    name = TORCHVISION.get(setting.name, setting.name)
    if name in torchvision.models.list_models(torchvision.models):
        network = torchvision.models.get_model(name, num_classes=setting.classes)
        network.load_state_dict(convert_state_dict(setting.state, setting.name, "neocog", target="torchvision"))
    else:
        network = network_of(setting)
    torch.manual_seed(setting.seed)
    # The transforms of its ClassificationPresetTrain with the backend "pil".
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(setting.size, antialias=True),
            transforms.RandomHorizontalFlip(0.5),
            transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float),
            transforms.Normalize(MEAN, STD),
        ]
    )
    dataset = ImageFolder(str(setting.folder), transform)
    loader = DataLoader(
        dataset, setting.batch, sampler=RandomSampler(dataset), num_workers=setting.workers, pin_memory=False,
        persistent_workers=setting.workers > 0, drop_last=True,
    )  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    return network, plain_steps(network, loader, optimizer, setting, metered=True)


def plain_steps(
    network: nn.Module, loader, optimizer: torch.optim.Optimizer, setting: Setting, *, metered: bool = False
) -> Steps:
    """Yield after each step of the loop that both scripts have; torchvision's reads the accuracy each time."""
    criterion = nn.CrossEntropyLoss()
    network.train()
    for epoch in range(setting.epochs):
        for number, (images, targets) in enumerate(loader):
            set_rate(optimizer, setting, epoch + number / len(loader))
            logits = network(images)
            loss = criterion(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if metered:
                (logits.argmax(1) == targets).float().mean().item()
            yield loss.item()


def set_rate(optimizer: torch.optim.Optimizer, setting: Setting, epoch: float) -> None:
    """Give the optimiser the rate of neocog's cosine, where the run has an end."""
    if setting.epochs < 10**6:
        rate = RATE * (1 + torch.cos(torch.tensor(torch.pi * epoch / setting.epochs)).item()) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate


def turn(steps: Steps, count: int, keep: bool) -> Callable[[], None]:
    """Return a call that makes `count` steps, with the allocator keeping what is freed or not."""

    def call() -> None:
        if keep:
            keep_freed_memory()
        for _ in range(count):
            next(steps)
        if keep:
            give_freed_memory_back()

    return call


def give_freed_memory_back() -> None:
    """Undo `keep_freed_memory`: glibc's own settings, and all that is free back to the system."""
    library = ctypes.CDLL(None)
    library.mallopt(-4, 65536)
    library.mallopt(-1, 128 << 10)
    library.malloc_trim(0)


OTHERS = {"timm": timm_steps, "torchvision's reference loop": reference_steps}


def compare_speed(setting: Setting, options: argparse.Namespace) -> None:
    """Print how many times as fast neocog is, and the memory of a step on each side."""
    for label, build in OTHERS.items():
        (network, ours), (their_network, theirs) = neocog_steps(setting), build(setting)
        found = interleave(
            turn(ours, options.steps, options.keep_memory), turn(theirs, options.steps, False), options.pairs, 1
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
        found = interleave(turn(ours, options.steps, keep), turn(theirs, options.steps, keep), options.pairs, 1)
        print(f"{setting.name}, whole against {label}: {found}", flush=True)
    (_, ours), (_, theirs) = neocog_steps(setting), neocog_steps(setting)
    found = interleave(turn(ours, options.steps, True), turn(theirs, options.steps, False), options.pairs, 1)
    print(f"{setting.name}, keeping freed memory against not: {found}", flush=True)


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
            cache=Path(place), state=state,
        )  # fmt: skip
        (compare_parts if options.parts else compare_speed)(setting, options)


if __name__ == "__main__":
    main()
