"""Averages of the weights over steps: moving (Polyak and Juditsky 1992), uniform (Izmailov et al. 2018), and one that
pulls the weights back to itself (Zhang et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neocog.train.recipe import Average


class WeightAverage:
    """Keeps an average of a module's parameters and of its floating-point buffers.

    Batch norm's running statistics are averaged like the weights, so that they describe the averaged network's
    neighbourhood in time and not its last step alone. What the average does at an update follows from the update's
    number; nothing is counted here, so nothing but the averaged tensors needs a place in a checkpoint.

    "lookahead" writes into the module too: there the average is the slow weights φ, and after every `interval` updates
    φ <- φ + α (θ - φ) and then θ <- φ for the module's weights θ (Zhang et al. 2019, arXiv:1907.08610, algorithm 1);
    the optimiser keeps its momentum. Between two pulls φ stays as it is.

    Args:
        module: whose weights.
        settings: which average.
        total: updates of the whole run, of which `settings.start` is a share, and which `settings.power` goes by.
    """

    def __init__(self, module: nn.Module, settings: Average, total: int = 0) -> None:
        self.settings, self.total = settings, total
        self.before = math.ceil(settings.start * total - 1e-9)  # a share may fall short of a whole update by rounding
        self.live = {
            name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if tensor.is_floating_point()
        }
        self.tensors = {name: tensor.detach().clone() for name, tensor in self.live.items()} if self.active else {}

    @property
    def active(self) -> bool:
        """Whether the recipe averages at all."""
        return self.settings.active

    @torch.no_grad()
    def restart(self) -> None:
        """Begin the average at the weights as they are now."""
        if self.tensors:
            torch._foreach_copy_(list(self.tensors.values()), list(self.live.values()))

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Move the average towards the weights after the update number `updates`, counted from 1."""
        pulls = self.settings.name == "lookahead"
        if not self.active or (pulls and updates % self.settings.interval):
            return
        kept = self.share_kept(updates - self.before)
        if kept == 0:
            self.restart()
        else:
            torch._foreach_lerp_(list(self.tensors.values()), list(self.live.values()), 1 - kept)
        if pulls:
            torch._foreach_copy_(list(self.live.values()), list(self.tensors.values()))

    def share_kept(self, number: int) -> float:
        """Return the share that the old average keeps at averaged update `number`, counted from 1; 0 before it."""
        if number < 1:
            return 0.0
        if self.settings.name == "uniform":
            return 1 - 1 / number
        if self.settings.name == "lookahead":
            done = number / max(1, self.total)
            return self.settings.decay * (done**self.settings.power if self.settings.power else 1.0)
        if self.settings.warmup:
            return min(self.settings.decay, (1 + number) / (10 + number))
        return self.settings.decay

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
