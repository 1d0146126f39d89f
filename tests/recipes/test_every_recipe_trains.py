"""Every recipe runs: on pieces of real photographs and on scanned digits, its networks made small, for a few steps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from neocog.jobs._build import build_batches, build_task
from neocog.jobs._plan import plan_stages
from neocog.jobs.listener import Listener
from neocog.models import grow
from neocog.recipes import list_recipes
from neocog.train.fit import fit

SMALL = {"edits.depths": (1, 1, 1, 1), "edits.width": 8, "image_size": 64}
MADE_SMALL: dict[str, dict[str, Any]] = {  # so that each takes a second or two
    "alexnet_2012": {"edits.filters": (8, 8, 8, 8, 8), "edits.hidden": 16},
    "convnext_2022": SMALL,
    "deit_2020": SMALL,
    "densenet_2016_cifar": {"edits.depths": (2, 2, 2)},
    "finetune": {"weights": None, "image_size": 32},  # no weights are at hand in a test
    "googlenet_2014": {"image_size": 96},
    "linear_probe": {"weights": None, "image_size": 32},
    "neocognitron_1980": {"organise": 12},
    "quick": {"image_size": 32},
    "resnet_2015": SMALL,
    "resnet_2015_cifar": {"edits.depths": (1, 1, 1)},
    "vgg_2014": {"edits.widths": (4, 4, 4, 8, 8), "edits.hidden": 16, "image_size": 64},
    "wide_resnet_2016_cifar": {"edits.depth": 10, "edits.widening": 1},
}
MADE_SMALL |= {name: SMALL for name in list_recipes() if name.startswith(("resnet_rs_", "resnet_strikes_back_"))}
OF_DIGITS = {"lenet_1998", "lenet_1998_distorted", "neocognitron_1980"}
OF_SMALL_IMAGES = {
    "convnetjs_cifar10",
    "densenet_2016_cifar",
    "perceptron",
    "resnet_2015_cifar",
    "wide_resnet_2016_cifar",
}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders of two classes of images: pieces of two photographs, those of 32 pixels, and scanned digits."""
    root, generator = tmp_path_factory.mktemp("pieces"), np.random.default_rng(0)
    photographs, digits = load_sample_images().images, load_digits()
    for number, name in enumerate(("temple", "flower")):
        for folder in ("photographs", "small", "digits"):
            (root / folder / name).mkdir(parents=True)
        for piece in range(10):
            height, width = generator.integers(80, 130, 2)
            top, left = generator.integers(0, 427 - height), generator.integers(0, 640 - width)
            cut = photographs[number][top : top + height, left : left + width]
            Image.fromarray(cut).save(root / "photographs" / name / f"{piece}.jpg")
            Image.fromarray(cut[:32, :32]).save(root / "small" / name / f"{piece}.png")
            digit = digits.images[digits.target == number][piece]
            Image.fromarray((digit * 15.9).astype(np.uint8)).save(root / "digits" / name / f"{piece}.png")
    return {folder: root / folder for folder in ("photographs", "small", "digits")}


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_trains_for_a_few_steps_on_real_images(name: str, pieces: Mapping[str, Path]) -> None:
    shown = "digits" if name in OF_DIGITS else "small" if name in OF_SMALL_IMAGES else "photographs"
    changes = {"epochs": 1, "batch_size": 6, "workers": 0, "cache": False, "schedule.warmup_epochs": 0}
    splits, plans = plan_stages(
        pieces[shown],
        data_dir=None,
        model=None,
        recipe=name,
        weights=None,
        overrides=changes | MADE_SMALL.get(name, {}),
        device="cpu",
        listener=Listener(),
    )
    before = None
    for plan in plans:
        task = build_task(plan, splits)
        if before is not None:
            assert grow(before, task.network)
        begun = [parameter.clone() for parameter in task.parameters()]
        steps = 0
        with closing(build_batches(plan, splits.train)) as batches:
            for state in fit(task, batches, plan.recipe):
                assert all(torch.isfinite(part) for part in state.parts.values()), state.parts
                steps += 1
        assert steps == state.updates == 3
        assert any(not torch.equal(new, old) for new, old in zip(task.parameters(), begun, strict=True))
        before = task.network
