"""A run with every part that has a schedule, a state or a draw of its own ends in the same bits, broken off or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from breaking import Breaker, Broken, assert_same, save_each_step, save_pictures

from neocog import jobs
from neocog.train.recipe import Recipe

COMMON: dict[str, Any] = {
    "epochs": 3,
    "threads": 1,
    "workers": 0,
    "mix.mixup": 0.2,
    "mix.cutmix": 1.0,
    "repeats": 2,
    "augment.policy": "randaugment",
    "augment.erase": 0.5,
    "unfreeze": 0.6,
    "average.name": "uniform",
    "average.start": 0.4,
}
SMALL = COMMON | {
    "batch_size": 16,
    "optimizer.name": "lamb",
    "optimizer.lr": 0.01,
    "optimizer.layer_decay": 0.8,
    "vary": {"loss.label_smoothing": [[1, 0.1]], "mix.mixup": [[2, 0.0]], "image_size": [[0, 24], [2, 32]]},
}
FOCUSED: dict[str, Any] = {
    "epochs": 4,
    "threads": 1,
    "workers": 0,
    "batch_size": 16,
    "focus.share": 0.5,
    "optimizer.name": "muon",
    "optimizer.lr": 0.05,
    "optimizer.momentum": 0.6,
    "optimizer.rest_momentum": 0.8,
    "optimizer.unit_filters": True,
    "optimizer.newton_schulz": 3,
    "average.name": "lookahead",
    "average.decay": 0.5,
    "average.interval": 2,
}
PHOTOGRAPHS = COMMON | {
    "image_size": 32,
    "batch_size": 8,
    "cache": True,
    "optimizer.name": "muon",
    "optimizer.lr": 0.02,
    "clip_adaptive": 0.1,
    "vary": {"image_size": [[0, 24], [1, 32]], "augment.policy_magnitude": [[1, 15]]},
}


def runs(
    source: str | Path, model: str, overrides: dict[str, Any], steps: tuple[int, ...], folder: Path
) -> tuple[Path, list[Path]]:
    """Return an unbroken run, and those that were broken off after some steps and resumed."""

    def train(out: Path, listener: jobs.Listener | None = None) -> None:
        jobs.train(source, model=model, recipe=Recipe(), overrides=overrides, out=out, device="cpu", listener=listener)

    train(folder / "whole")
    broken = [folder / f"broken-{step}" for step in steps]
    for out, step in zip(broken, steps, strict=True):
        with pytest.raises(Broken):
            train(out, Breaker(step))
        jobs.resume(out)
    return folder / "whole", broken


def test_on_images_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_each_step(monkeypatch)
    whole, broken = runs(save_pictures(tmp_path / "pictures"), "resnet20", SMALL, (2, 8), tmp_path)
    for out in broken:
        assert_same(out, whole)


def test_on_photographs(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_each_step(monkeypatch)
    whole, broken = runs(photographs, "resnet20", PHOTOGRAPHS, (3, 9), tmp_path)
    for out in broken:
        assert_same(out, whole)


def test_on_what_is_still_hard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off in an epoch that leaves images out, and right after one."""
    save_each_step(monkeypatch)
    whole, broken = runs(save_pictures(tmp_path / "pictures"), "resnet20", FOCUSED, (5, 6, 8), tmp_path)
    for out in broken:
        assert_same(out, whole)
