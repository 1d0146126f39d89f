"""Runs that break off after a step, as if they were killed there, and what they must end in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from neocog import jobs
from neocog.jobs import _finish, _loop
from neocog.train.checkpoint import Checkpoints
from neocog.train.run import Run


class Broken(Exception):
    """What ends a run where it is broken off."""


class Breaker(jobs.Listener):
    """Breaks off at the step `at`, counted from 1 over the whole job: after it was made, before it is saved."""

    def __init__(self, at: int, how: Callable[[], None] | None = None) -> None:
        self.left, self.how, self.training = at, how, False
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def begin(self, what: str, total: int, unit: str = "images") -> None:
        self.training = what.startswith("epoch")

    def advance(self, done: int, **figures: float) -> None:
        self.left -= self.training
        if self.left == 0 and self.training:
            if self.how is None:
                raise Broken
            self.how()


def save_pictures(folder: Path) -> Path:
    """Write 54 images of 28 x 28 in three classes, 16 of each to train on and 2 to validate by."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(("dark", "medium", "light")):
        (folder / name).mkdir(parents=True)
        for i in range(18):
            pixels = generator.integers(80 * number, 80 * number + 90, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


def save_each_step(patch: pytest.MonkeyPatch) -> None:
    """Let a checkpoint follow every step, and draw nothing, which takes longer than these runs."""
    patch.setattr(_loop, "CHECKPOINT_SECONDS", 0.0)
    patch.setattr(_finish, "draw", lambda *arguments: ())


def assert_same(found: Path, expected: Path) -> None:
    """Compare two runs: the model file, the last checkpoint and the metrics, but for times."""
    ours, theirs = load_file(found / "model.safetensors"), load_file(expected / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    one, other = (Checkpoints(run / "checkpoints").latest() for run in (found, expected))
    assert one is not None
    assert other is not None
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[name], tensor) for name, tensor in other.tensors.items())
    rows, others = ([timeless(row) for row in Run.open(run).read_metrics()] for run in (found, expected))
    assert rows == others


def timeless(row: dict[str, float]) -> dict[str, float]:
    """Return a row of metrics without what depends on the clock."""
    return {name: value for name, value in row.items() if name not in ("images_per_second", "waiting", "seconds")}
