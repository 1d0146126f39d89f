"""What a run knows of its epochs: running means, the best score, and how long nothing got better."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from neocog.errors import TrainingError
from neocog.train.distributed import Alone
from neocog.train.state import State


class EpochLog:
    """Sums the parts of an epoch's losses and remembers the best validation score.

    Each process sums its own, and they hear of each other's only where a row or a checkpoint is made. `meta` goes into
    the checkpoint, so that a resumed run reports the same means as an unbroken one.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.seconds = 0.0
        self.waited = 0.0
        self.total_seconds = 0.0
        self.total_waited = 0.0
        self.best_score = -math.inf
        self.best_epoch = 0
        self._pending: dict[str, Tensor] = {}
        self._clock = time.perf_counter()

    def begin_step(self) -> None:
        """Start the clock of training, after whatever was done between steps."""
        self._clock = time.perf_counter()

    def add(self, state: State, waited: float) -> None:
        """Add one step.

        Raises:
            TrainingError: the loss is not finite.
        """
        now = time.perf_counter()
        self.seconds += now - self._clock
        self.total_seconds += now - self._clock
        self.waited += waited
        self.total_waited += waited
        self._clock = now
        self.steps += 1
        for name, value in state.parts.items():
            self._pending[name] = self._pending.get(name, torch.zeros((), device=value.device)) + value
        # Reading a value from a GPU waits for it; every 20th step is often enough to notice a loss that ran away.
        if next(iter(state.parts.values())).device.type == "cpu" or state.step % 20 == 0 or not state.step_in_epoch:
            self.settle(state)

    def settle(self, state: State) -> None:
        """Move what is summed on the device into numbers, and see that they are finite."""
        for name, value in self._pending.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.item()
        self._pending = {}
        bad = [name for name, value in self.sums.items() if not math.isfinite(value)]
        if bad:
            raise not_finite(f"training {bad[0]} is", state)

    def check_weights(self, state: State) -> None:
        """See that what a checkpoint is about to keep is finite: a step may spoil it whose own loss was.

        Raises:
            TrainingError: it is not.
        """
        if not all(bool(torch.isfinite(parameter).all()) for parameter in state.task.parameters()):
            raise not_finite("weights are", state)

    def means(self) -> dict[str, float]:
        """Return the epoch's means so far in this process, by part."""
        return {name: value / max(self.steps, 1) for name, value in self.sums.items()}

    def row(self, state: State, batch_size: int, sync: Alone) -> dict[str, float]:
        """Return the metrics row of the epoch that just ended, and begin the next; every process gets the same means.

        A step has as many images in each process, so that the mean over steps is the one over images.
        """
        row: dict[str, float] = {"epoch": state.epoch, "step": state.step, "lr": state.learning_rate}
        steps, *sums = self._gathered(sync).sum(0).tolist()
        row |= {f"train_{name}": value / max(steps, 1) for name, value in zip(self.sums, sums, strict=True)}
        row["images_per_second"] = self.steps * batch_size / max(self.seconds, 1e-9)
        row["waiting"] = self.waited / max(self.seconds, 1e-9)
        row["seconds"] = self.total_seconds
        self.sums, self.steps, self.seconds, self.waited = {}, 0, 0.0, 0.0
        return row

    def improves(self, score: float, epoch: int) -> bool:
        """Note the validation score of `epoch`; return whether it is the best so far."""
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch
            return True
        return False

    def exhausted(self, epoch: int, patience: int | None) -> bool:
        """Return whether `patience` epochs went by without a better score."""
        return patience is not None and epoch - self.best_epoch >= patience

    @property
    def waiting(self) -> float:
        """Share of all training time in which the main process's network stood still, for batches to come."""
        return self.total_waited / self.total_seconds if self.total_seconds else 0.0

    def meta(self, sync: Alone) -> dict[str, Any]:
        """Return what a checkpoint keeps: of every process its steps and sums, of the rest the caller's."""
        names = ("seconds", "waited", "total_seconds", "total_waited", "best_epoch")
        kept = {name: getattr(self, name) for name in names}
        kept |= {"parts": list(self.sums), "processes": self._gathered(sync).tolist()}
        return kept | {"best_score": self.best_score if math.isfinite(self.best_score) else None}

    def restore(self, meta: dict[str, Any], sync: Alone) -> None:
        """Become what `meta` kept of this process, or its share where there were more or fewer."""
        kept = dict(meta)
        parts, processes = kept.pop("parts"), torch.tensor(kept.pop("processes"), dtype=torch.float64)
        steps, *sums = processes[sync.rank :: sync.world_size].sum(0).tolist()
        self.steps, self.sums = int(steps), dict(zip(parts, sums, strict=True))
        for name, value in kept.items():
            setattr(self, name, value)
        if self.best_score is None:
            self.best_score = -math.inf

    def _gathered(self, sync: Alone) -> Tensor:
        """Return the steps and the sums of every process: float64 `(world_size, 1 + parts)`."""
        return sync.gather(torch.tensor([self.steps, *self.sums.values()], dtype=torch.float64))


def not_finite(what: str, state: State) -> TrainingError:
    """Return the error of a run whose loss or weights ran away, with what helps as a rule."""
    return TrainingError(
        f"the {what} not finite at step {state.step} (epoch {state.epoch + 1}, learning rate "
        f"{state.learning_rate:.3g}); lower the rate (--set optimizer.lr=...) or clip the gradient "
        "(--set clip_norm=1)"
    )
