"""The sides of `training.py`: neocog, timm's parts in the loop of its script, torchvision's reference loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neocog import convert_state_dict, create_model
from neocog.data.augment import Augmentation
from neocog.data.cache import cache_side, open_cache
from neocog.data.loading import training_batches
from neocog.data.preprocess import Preprocessing
from neocog.data.sources import load_split
from neocog.train.fit import fit
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
    compiled: bool = False
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
    if setting.compiled:
        network.compile()
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


OTHERS = {"timm": timm_steps, "torchvision's reference loop": reference_steps}
