"""The recipes of papers have the papers' numbers: each is written here again, from the paper or its authors' code."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.data.auto_augment import _LEVEL_DENOM
from timm.data.mixup import Mixup
from timm.optim.lamb import Lamb

from neocog.recipes import Facts, build_recipe, build_stages, differences, explain_recipe, list_recipes
from neocog.train.schedules import learning_rate

LADDER = [name for name in list_recipes() if name.startswith("resnet_rs_")]

STRIKES_BACK = {  # table 2 of "ResNet strikes back", its column of A1, A2 and A3
    "epochs": (600, 300, 100),
    "batch_size": (2048, 2048, 2048),
    "optimizer.name": ("lamb", "lamb", "lamb"),
    "optimizer.lr": (5e-3, 5e-3, 8e-3),
    "optimizer.weight_decay": (0.01, 0.02, 0.02),
    "schedule.name": ("cosine", "cosine", "cosine"),
    "schedule.warmup_epochs": (5, 5, 5),
    "loss.name": ("binary_cross_entropy", "binary_cross_entropy", "binary_cross_entropy"),
    "loss.label_smoothing": (0.1, 0, 0),
    "repeats": (3, 3, 1),
    "mix.mixup": (0.2, 0.1, 0.1),
    "mix.cutmix": (1.0, 1.0, 1.0),
    "augment.flip": (0.5, 0.5, 0.5),
    "augment.erase": (0, 0, 0),
    "augment.lighting": (0, 0, 0),
    "average.decay": (0, 0, 0),
    "clip_norm": (1, 1, 1),  # not in the table: see the next test
    "image_size": (224, 224, 224),
}
OTHERS: dict[str, dict[str, Any]] = {
    "alexnet_2012": {  # sections 4.1 and 5
        "batch_size": 128, "optimizer.momentum": 0.9, "optimizer.weight_decay": 5e-4, "optimizer.lr": 0.01,
        "epochs": 90, "augment.lighting": 0.1, "augment.flip": 0.5, "augment.sides": (256, 256), "views": "ten_crop",
    },
    "vgg_2014": {  # section 3.1
        "batch_size": 256, "optimizer.momentum": 0.9, "optimizer.weight_decay": 5e-4, "optimizer.lr": 0.01,
        "epochs": 74, "augment.sides": (256, 512),
    },
    "resnet_2015": {  # section 3.4
        "batch_size": 256, "optimizer.momentum": 0.9, "optimizer.weight_decay": 1e-4, "optimizer.lr": 0.1,
        "augment.crop": "scale", "augment.sides": (256, 480), "augment.flip": 0.5, "augment.lighting": 0.1,
        "views": "ten_crop",
    },
    "resnet_2015_cifar": {  # section 4.2
        "batch_size": 128, "optimizer.momentum": 0.9, "optimizer.weight_decay": 1e-4, "optimizer.lr": 0.1,
        "augment.pad": 4, "augment.flip": 0.5, "validation": 0,
    },
    "googlenet_2014": {  # sections 5 and 6; what the paper leaves open from Caffe's bvlc_googlenet/solver.prototxt
        "loss.auxiliary_weight": 0.3, "optimizer.momentum": 0.9, "augment.scale": (0.08, 1.0),
        "augment.ratio": (3 / 4, 4 / 3), "optimizer.lr": 0.01, "optimizer.weight_decay": 2e-4, "batch_size": 32,
    },
    "deit_2020": {  # table 9; rates and erasing from the arguments of the authors' main.py
        "epochs": 300, "batch_size": 1024, "optimizer.name": "adamw", "optimizer.lr": 5e-4 * 1024 / 512,
        "optimizer.weight_decay": 0.05, "schedule.warmup_epochs": 5, "loss.label_smoothing": 0.1, "repeats": 3,
        "clip_norm": None, "mix.mixup": 0.8, "mix.cutmix": 1.0, "augment.erase": 0.25, "augment.erase_fill": "noise",
    },
    "convnext_2022": {  # table 5
        "epochs": 300, "batch_size": 4096, "optimizer.name": "adamw", "optimizer.lr": 4e-3,
        "optimizer.weight_decay": 0.05, "optimizer.betas": (0.9, 0.999), "schedule.warmup_epochs": 20,
        "loss.label_smoothing": 0.1, "repeats": 1, "clip_norm": None, "mix.mixup": 0.8, "mix.cutmix": 1.0,
        "augment.erase": 0.25, "average.decay": 0.9999,
    },
    "wide_resnet_2016_cifar": {  # section 3
        "epochs": 200, "batch_size": 128, "optimizer.nesterov": True, "optimizer.weight_decay": 5e-4, "validation": 0,
    },
    "densenet_2016_cifar": {  # section 4.2
        "epochs": 300, "batch_size": 64, "optimizer.nesterov": True, "optimizer.weight_decay": 1e-4, "validation": 0,
    },
    "convnetjs_cifar10": {  # the demo: {method:'adadelta', batch_size:4, l2_decay:0.0001}; its trainer's ro and eps
        "batch_size": 4, "optimizer.name": "adadelta", "optimizer.rho": 0.95, "optimizer.eps": 1e-6,
        "optimizer.lr": 1.0, "augment.pad": 2, "augment.flip": 0.5,
    },
    "resnet_rs_10_resnet_d": {  # imagenet_resnetrs200_i256.yaml of the authors' code
        "batch_size": 4096, "optimizer.lr": 1.6, "optimizer.momentum": 0.9, "optimizer.weight_decay": 4e-5,
        "epochs": 350, "schedule.warmup_epochs": 5, "average.decay": 0.9999, "loss.label_smoothing": 0.1,
        "image_size": 256, "edits.dropout": 0.25, "edits.stochastic_depth": 0.1, "edits.squeeze_excite": True,
        "edits.resnet_d": True, "model": "resnetrs200",
    },
}  # fmt: skip
RATES = {  # the rate at some epochs, as the papers say it falls
    "alexnet_2012": {0: 0.01, 29: 0.01, 30: 1e-3, 60: 1e-4, 80: 1e-5},
    "resnet_2015": {0: 0.1, 30: 0.01, 60: 1e-3, 90: 1e-4, 119: 1e-4},
    "googlenet_2014": {0: 0.01, 7.9: 0.01, 8: 0.01 * 0.96, 17: 0.01 * 0.96**2, 249: 0.01 * 0.96**31},
    "wide_resnet_2016_cifar": {0: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008, 199: 0.0008},
    "densenet_2016_cifar": {0: 0.1, 149: 0.1, 150: 0.01, 225: 0.001},
    "deit_2020": {0: 1e-6, 5: 1e-3, 300: 1e-5},
    "convnext_2022": {0: 0, 20: 4e-3, 300: 1e-6},
    "convnetjs_cifar10": {0: 1, 19: 1},
    "resnet_strikes_back_a3": {0: 0, 5: 8e-3, 100: 0},
    "resnet_rs_00_baseline": {0: 0, 5: 1.6, 30: 0.16, 60: 0.016, 80: 0.0016},
}


def field(recipe: Any, name: str) -> Any:
    for part in name.split("."):
        recipe = recipe[part] if isinstance(recipe, dict) else getattr(recipe, part)
    return recipe


@pytest.mark.parametrize("place", range(3), ids=["a1", "a2", "a3"])
def test_strikes_back_s_procedures_are_those_of_table_2(place: int) -> None:
    recipe = build_recipe(f"resnet_strikes_back_a{place + 1}", Facts())
    assert {name: field(recipe, name) for name in STRIKES_BACK} == {n: row[place] for n, row in STRIKES_BACK.items()}
    assert recipe.edits.get("stochastic_depth", 0) == (0.05, 0.05, 0)[place]
    assert recipe.at(0).image_size == recipe.at(99).image_size == (224, 224, 160)[place]  # what it trains at
    strength = (7, 7, 6)[place]  # of timm's denominator, 10; torchvision's is 30
    assert recipe.augment.policy_magnitude == strength / _LEVEL_DENOM * 30


def test_strikes_back_clips_gradients_as_timm_s_lamb_does() -> None:
    timm_s = Lamb([torch.zeros(1, requires_grad=True)]).defaults["max_grad_norm"]
    for place in range(3):
        assert build_recipe(f"resnet_strikes_back_a{place + 1}", Facts()).clip_norm == timm_s


def test_the_residual_paper_s_steps_are_60e4() -> None:
    recipe = build_recipe("resnet_2015", Facts())
    assert round(recipe.epochs * 1_281_167 / recipe.batch_size, -4) == 60e4


@pytest.mark.parametrize("name", OTHERS)
def test_the_numbers_are_the_paper_s(name: str) -> None:
    for recipe in build_stages(name, Facts()):
        assert {each: field(recipe, each) for each in OTHERS[name]} == OTHERS[name]


@pytest.mark.parametrize("name", RATES)
def test_the_rate_falls_as_the_paper_says(name: str) -> None:
    recipe = build_recipe(name, Facts())
    found = [learning_rate(recipe, epoch) for epoch in RATES[name]]
    assert found == pytest.approx(list(RATES[name].values()), rel=1e-9, abs=1e-12)


def test_mixing_is_as_timm_does_by_default() -> None:
    timm_s = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0)
    for name in ("deit_2020", "convnext_2022", "resnet_strikes_back_a1"):
        mix = build_recipe(name, Facts()).mix
        assert (mix.switch, mix.probability) == (timm_s.switch_prob, timm_s.mix_prob)


def test_convnetjs_decay_is_divided_by_the_batch_as_its_trainer_does() -> None:
    recipe = build_recipe("convnetjs_cifar10", Facts())
    l2_decay, batch_size, p, g = 1e-4, 4, 3.0, 0.5
    theirs = (l2_decay * p + batch_size * g) / batch_size  # g: the mean gradient, theirs is the sum
    assert recipe.optimizer.weight_decay * p + g == pytest.approx(theirs, rel=1e-12)


def test_vgg_s_stages_are_four_of_its_table_s_columns_and_differ_in_nothing_else() -> None:
    stages = build_stages("vgg_2014", Facts())
    assert [stage.model for stage in stages] == ["vgg11", "vgg13", "vgg16", "vgg19"]
    for stage in stages:
        assert [difference.field for difference in differences(stages[:1], [stage])] in ([], ["model"])


def test_a_step_of_the_ladder_changes_one_thing() -> None:
    assert len(LADDER) == 11
    changed = []
    for before, after in pairwise(LADDER):
        found = differences(build_stages(before, Facts()), build_stages(after, Facts()))
        things = {each.field.partition("_")[0] if "policy" in each.field else each.field for each in found}
        assert len(found) == 1 or len({each.field.partition(".")[0] for each in found}) == 1, (before, after, found)
        changed.append(things)
    assert changed == [
        {"schedule.name", "schedule.milestones"},
        {"epochs"},
        {"average.decay"},
        {"loss.label_smoothing"},
        {"edits.stochastic_depth"},
        {"augment.policy"},
        {"edits.dropout"},
        {"optimizer.weight_decay"},
        {"edits.squeeze_excite"},
        {"edits.resnet_d"},
    ]


def test_a_step_of_the_ladder_is_one_line_of_its_file() -> None:
    import neocog.recipes

    for before, after in pairwise(LADDER):
        lines = (Path(neocog.recipes.__file__).parent / f"{after}.py").read_text("utf-8")
        body = lines.partition("def recipe(")[2].splitlines()[2:]
        statement = " ".join(line.strip() for line in body)
        assert statement.startswith(f"return {before}.recipe(facts).override(")
        assert statement.count("override") == 1


def test_the_ladder_s_gains_add_up_to_the_deck_s() -> None:
    deck = [(79.0, None), (79.3, 0.3), (78.8, -0.5), (79.1, 0.3), (80.4, 1.3), (80.6, 0.2)]
    deck += [(81.0, 0.4), (80.7, -0.3), (82.2, 1.5), (82.9, 0.7), (83.4, 0.5)]
    printed = []
    for name in LADDER:
        found = re.search(r"Published: ([\d.]+) % top-1.*?(?:, ([+-][\d.]+))? \(table 1\)", explain_recipe(name))
        assert found is not None
        printed.append((float(found[1]), None if found[2] is None else float(found[2])))
    assert printed == deck
    assert printed[0][0] + sum(gain or 0 for _, gain in printed) == pytest.approx(83.4)
    for (before, _), (after, gain) in pairwise(printed):
        assert gain is not None
        assert after - before == pytest.approx(gain, abs=1e-9)
