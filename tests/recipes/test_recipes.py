from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neocog.catalog import describe
from neocog.errors import UnknownNameError, UsageError
from neocog.models import create_model
from neocog.recipes import Facts, build_recipe, build_stages, explain_recipe, list_recipes
from neocog.train.depth import parts_by_depth

PHOTOGRAPHS = Facts(images=240, class_counts=(120, 120), weights_at_hand=lambda name: True)
DIGITS = Facts(images=1300, small=True, image_size=(8, 8), channels=1)


FEWEST = Facts(images=1, class_counts=(1, 0), memory=1)
LABELS = Facts(images=3_000_000, multi_label=True, device="cuda", memory=80 << 30)
WITHOUT_PAPER = {"linear_probe", "perceptron", "quick"}


@pytest.mark.parametrize("name", list_recipes())
@pytest.mark.parametrize("facts", [PHOTOGRAPHS, DIGITS, FEWEST, LABELS], ids=["photographs", "digits", "one", "labels"])
def test_every_recipe_is_valid_and_names_networks_of_the_catalog(name: str, facts: Facts) -> None:
    for recipe in build_stages(name, facts):
        assert recipe.name == name
        assert describe(recipe.model).name == recipe.model
        assert recipe.schedule.warmup_epochs < recipe.epochs
        assert all(milestone < recipe.epochs for milestone in recipe.schedule.milestones)
        assert recipe.override({}) == recipe  # is what it would be if it were checked as a person's is


@pytest.mark.parametrize("name", list_recipes())
def test_every_network_takes_its_recipe_s_edits(name: str) -> None:
    for recipe in build_stages(name, PHOTOGRAPHS):
        with torch.device("meta"):
            network = create_model(recipe.model, num_classes=10, **recipe.edits)
        assert all(getattr(network.config, field) == value for field, value in recipe.edits.items())


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_states_its_command_and_what_came_of_it(name: str) -> None:
    text = explain_recipe(name)
    assert "neocog train" in text
    assert name == "quick" or f"--recipe {name}" in text
    assert "\n\nMeasured: " in text
    assert name in WITHOUT_PAPER or ("\n\nPaper: " in text and "\n\nPublished: " in text)


@pytest.mark.parametrize("name", list_recipes())
def test_no_recipe_promises_a_measurement(name: str) -> None:
    measured = explain_recipe(name).partition("\n\nMeasured: ")[2].partition("\n\n")[0]
    assert measured
    for promise in ("filled in", "not yet", "todo"):
        assert promise not in " ".join(measured.lower().split())
    if measured.startswith("not run here"):
        assert ";" in measured, "say why"


def test_a_recipe_of_stages_is_not_given_where_one_is_asked_for() -> None:
    with pytest.raises(UsageError, match="vgg11, vgg13, vgg16, vgg19"):
        build_recipe("vgg_2014", PHOTOGRAPHS)


def test_quick_fine_tunes_photographs_where_weights_can_be_had() -> None:
    tuned = build_recipe("quick", PHOTOGRAPHS)
    assert (tuned.model, tuned.weights) == ("mobilenetv2_100", "default")
    assert tuned.optimizer.head_lr_scale > 1


def test_quick_trains_from_scratch_for_longer_at_higher_rates_where_they_cannot() -> None:
    tuned = build_recipe("quick", PHOTOGRAPHS)
    scratch = build_recipe("quick", Facts(images=240))
    assert scratch.weights is None
    assert scratch.epochs > tuned.epochs
    assert scratch.optimizer.lr > tuned.optimizer.lr


def test_quick_does_not_mirror_grey_images() -> None:
    assert build_recipe("quick", DIGITS).augment.flip == 0
    assert build_recipe("quick", PHOTOGRAPHS).augment.flip == 0.5


def test_quick_halves_the_batch_until_it_fits_the_memory() -> None:
    roomy = build_recipe("quick", Facts(images=5000, memory=64 << 30))
    tight = build_recipe("quick", Facts(images=5000, memory=2 << 30))
    assert tight.batch_size < roomy.batch_size


def test_quick_takes_fewer_epochs_of_more_images() -> None:
    few, many = (build_recipe("quick", Facts(images=n, weights_at_hand=lambda name: True)) for n in (200, 5000))
    assert many.epochs < few.epochs


def test_the_residual_paper_s_rates_fall_at_32k_and_48k_of_64k_iterations() -> None:
    recipe = build_recipe("resnet_2015_cifar", Facts())
    steps = 50_000 / 128
    assert [round(epoch * steps / 1000) for epoch in (*recipe.schedule.milestones, recipe.epochs)] == [32, 48, 64]


def test_an_unknown_recipe_names_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="resnet_2015"):
        build_recipe("resnet2015", Facts())


def test_quick_enlarges_small_images_only_where_weights_know_what_they_show() -> None:
    cuttings = Facts(small=True, one_size=False, image_size=(50, 48), weights_at_hand=lambda name: True)
    assert build_recipe("quick", cuttings).weights == "default"
    for change in ({"one_size": True}, {"channels": 1}, {"weights_at_hand": lambda name: False}):
        assert build_recipe("quick", replace(cuttings, **change)).weights is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("images", [20, 240, 5_000])
def test_finetune_lets_all_move_for_the_last_half_of_its_epochs(device: str, images: int) -> None:
    recipe = build_recipe("finetune", Facts(images=images, device=device, weights_at_hand=lambda name: True))
    assert recipe.weights == "default"
    with torch.device("meta"):
        parts = parts_by_depth(create_model(recipe.model, num_classes=2))
    assert 0 < recipe.unfreeze * (len(parts) - 1) <= recipe.epochs / 2
    assert recipe.optimizer.layer_decay < 1
