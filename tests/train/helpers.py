"""Small networks and batches for the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from neocog.data.keys import epoch_order
from neocog.data.loading import Batch
from neocog.layers.drop import StochasticDepth
from neocog.models._classifier import Classifier, ModelConfig
from neocog.train.focus import FocusedOrder
from neocog.train.supervised import SupervisedTask


class TinyNetwork(Classifier):
    """Convolution, optional batch norm, optional dropout, head: all that training can disagree about."""

    def __init__(self, *, norm: bool = False, dropout: float = 0.0, classes: int = 3) -> None:
        super().__init__(ModelConfig(num_classes=classes))
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=not norm)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(8, classes)
        self.num_features = 8

    def forward_features(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv1(x)))

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        pooled = self.drop(features.mean((2, 3)))
        return pooled if pre_logits else self.fc(pooled)


class Staged(Classifier):
    """A stem, two stages and a head, with norms and dropouts that freezing must hold still."""

    def __init__(self) -> None:
        super().__init__(ModelConfig(num_classes=3))
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.Dropout(0.2))
        self.layer2 = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.fc = nn.Linear(8, 3)
        self.num_features, self.stage_names = 8, ("layer1", "layer2")

    def forward_features(self, x: Tensor) -> Tensor:
        return self.layer2(self.layer1(self.bn1(self.conv1(x)).relu()).relu())

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        pooled = features.mean((2, 3))
        return pooled if pre_logits else self.fc(pooled)


class Whitenable(TinyNetwork):
    """The tiny network with as many first filters as whitening takes, and a convolution after them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 26, 2), nn.Conv2d(26, 8, 3, padding=1, bias=False)

    def forward_features(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(x))))


class Skipping(TinyNetwork):
    """The tiny network with two blocks that are left out at random."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(2))
        self.depth = StochasticDepth(0.5, "batch")

    def forward_features(self, x: Tensor) -> Tensor:
        x = super().forward_features(x)
        for block in self.blocks:
            x = self.depth(x, lambda block=block, x=x: block(x))
        return x


class TensorBatches:
    """Random images in the order of (seed, epoch) or another, split into micro-batches numbered over all processes."""

    def __init__(
        self,
        images: int = 24,
        batch_size: int = 8,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        order: Callable[[int], Tensor] | None = None,
    ) -> None:
        self.order = order or (lambda epoch: epoch_order(0, epoch, images))
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(images, 3, 6, 6, generator=generator)
        self.targets = torch.randint(0, 3, (images,), generator=generator)
        self.batch_size, self.accumulate, self.rank, self.world_size = batch_size, accumulate, rank, world_size
        self.steps_per_epoch = images // batch_size
        self.waited = 0.0

    def steps(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        order = self.order(epoch)
        for step in range(start, self.steps_per_epoch):
            whole = order[step * self.batch_size : (step + 1) * self.batch_size]
            micro = whole.chunk(self.accumulate * self.world_size)
            mine = micro[self.rank * self.accumulate : (self.rank + 1) * self.accumulate]
            yield [Batch(self.images[rows], self.targets[rows], rows) for rows in mine]


def make_network(*, norm: bool = False, dropout: float = 0.0) -> TinyNetwork:
    """Return the same network each time."""
    torch.manual_seed(0)
    return TinyNetwork(norm=norm, dropout=dropout)


def make_task(kind: str) -> SupervisedTask:
    """Return the task of a kind, the same each time: plain, norm, frozen (part by part), skipping, focused, whitened.

    The last begins with filters made of four images, and its stem moves for one epoch and a third.
    """
    torch.manual_seed(0)
    if kind == "focused":
        task = SupervisedTask(make_network())
        task.focus = FocusedOrder(24, seed=0, share=0.5)
        return task
    if kind == "frozen":
        return SupervisedTask(Staged(), unfreeze=0.5)
    if kind == "skipping":
        return SupervisedTask(Skipping())
    if kind == "whitened":
        return SupervisedTask(Whitenable(), whiten=4, identity=True, stem_epochs=4 / 3)
    return SupervisedTask(make_network(norm=kind == "norm"))
