"""An exponential moving average of the weights (Polyak and Juditsky 1992, in the form of Tan and Le 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neocog.train.recipe import Average


class WeightAverage:
    """Keeps an average of a module's parameters and of its floating-point buffers.

    Batch norm's running statistics are averaged like the weights, so that they describe the averaged network's
    neighbourhood in time and not its last step alone.
    """

    def __init__(self, module: nn.Module, settings: Average) -> None:
        self.settings = settings
        self.live = {
            name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if tensor.is_floating_point()
        }
        self.tensors = {name: tensor.detach().clone() for name, tensor in self.live.items()} if self.active else {}

    @property
    def active(self) -> bool:
        """Whether the recipe averages at all."""
        return self.settings.decay > 0

    @torch.no_grad()
    def restart(self) -> None:
        """Begin the average at the weights as they are now."""
        for name, averaged in self.tensors.items():
            averaged.copy_(self.live[name])

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Move the average towards the weights after the update number `updates`, counted from 1."""
        if self.active:
            decay = self.settings.decay
            if self.settings.warmup:
                decay = min(decay, (1 + updates) / (10 + updates))
            torch._foreach_lerp_(list(self.tensors.values()), list(self.live.values()), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averaged weights into the module while the context lasts; without averaging, do nothing."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, averaged in self.tensors.items():
            live: Tensor = self.live[name]
            kept = live.detach().clone()
            live.copy_(averaged)
            averaged.copy_(kept)
