"""`State`: all that a training run is at one moment, and all that a checkpoint must hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer as TorchOptimizer

from neocog.train.average import WeightAverage
from neocog.train.optimizers import build_optimizer
from neocog.train.precision import Precision
from neocog.train.recipe import Recipe
from neocog.train.schedules import learning_rate
from neocog.train.task import Task


@dataclass
class State:
    """A run between two steps.

    Attributes:
        step: batches consumed since the start; places the run in its epochs.
        updates: updates of the weights; equals `step` unless float16 skipped some. Drives schedule and average.
        parts: the last step's loss and further scalars, means over micro-batches of this process.
    """

    task: Task
    recipe: Recipe
    optimizer: TorchOptimizer
    precision: Precision
    average: WeightAverage
    steps_per_epoch: int
    step: int = 0
    updates: int = 0
    parts: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def start(cls, task: Task, recipe: Recipe, steps_per_epoch: int) -> State:
        """Return the state before the first step, for a task that lies on its device."""
        device = next(task.parameters()).device.type
        return cls(
            task=task,
            recipe=recipe,
            optimizer=build_optimizer(task.param_groups(recipe.optimizer), recipe.optimizer),
            precision=Precision(recipe.forward_precision, device, recipe.clip_norm, recipe.clip_adaptive),
            average=WeightAverage(task, recipe.average, recipe.epochs * steps_per_epoch),
            steps_per_epoch=steps_per_epoch,
        )

    @property
    def epoch(self) -> int:
        """The epoch that the next step belongs to, counted from 0."""
        return self.step // self.steps_per_epoch

    @property
    def step_in_epoch(self) -> int:
        """Steps of the current epoch that are done; 0 right after an epoch ended."""
        return self.step % self.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.recipe.epochs

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return self.rate()

    def rate(self, until: float | None = None) -> float:
        """Return the rate of the next update, or that of parameters which move only `until` an epoch."""
        return learning_rate(self.recipe, self.updates / self.steps_per_epoch, until)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that a resumed run needs, by name."""
        found = {f"task.{name}": tensor for name, tensor in self.task.state_dict().items()}
        found |= {f"average.{name}": tensor for name, tensor in self.average.tensors.items()}
        for index, entries in self.optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    found[f"optimizer.{index}.{name}"] = value
        return found

    def meta(self) -> dict[str, Any]:
        """Return what a resumed run needs beside tensors, ready for JSON."""
        return {"step": self.step, "updates": self.updates, "scaler": self.precision.scaler.state_dict()}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Become the state that `tensors` and `meta` describe, in place.

        Everything is copied into memory laid out like the parameters, because the fused optimisers walk over
        parameter, gradient and momentum side by side.
        """
        named: dict[str, dict[str, Tensor]] = {"task": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            named[kind][rest] = tensor
        self.task.load_state_dict(named["task"])
        for name, tensor in named["average"].items():
            self.average.tensors[name].copy_(tensor)
        parameters = [(p, group) for group in self.optimizer.param_groups for p in group["params"]]
        for name, tensor in named["optimizer"].items():
            index, _, entry = name.partition(".")
            parameter, group = parameters[int(index)]
            if entry == "step":  # fused kernels read the count where they run, the others on the CPU
                like = torch.empty_like(tensor, device=parameter.device if group.get("fused") else "cpu")
            elif tensor.shape == parameter.shape:
                like = torch.empty_like(parameter)
            else:
                like = torch.empty_like(tensor, device=parameter.device)
            self.optimizer.state[parameter][entry] = like.copy_(tensor)
        self.step, self.updates = meta["step"], meta["updates"]
        if meta["scaler"]:
            self.precision.scaler.load_state_dict(meta["scaler"])
