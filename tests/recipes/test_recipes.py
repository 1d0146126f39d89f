from __future__ import annotations

from dataclasses import replace

import pytest

from neocog.catalog import describe
from neocog.errors import UnknownNameError
from neocog.recipes import Facts, build_recipe, explain_recipe, list_recipes

PHOTOGRAPHS = Facts(images=240, class_counts=(120, 120), weights_at_hand=lambda name: True)
DIGITS = Facts(images=1300, small=True, image_size=(8, 8), channels=1)


@pytest.mark.parametrize("name", list_recipes())
@pytest.mark.parametrize("facts", [PHOTOGRAPHS, DIGITS])
def test_every_recipe_is_valid_and_names_a_network_of_the_catalog(name: str, facts: Facts) -> None:
    recipe = build_recipe(name, facts)
    assert recipe.name == name
    assert describe(recipe.model).name == recipe.model
    assert recipe.schedule.warmup_epochs < recipe.epochs


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_states_its_command(name: str) -> None:
    text = explain_recipe(name)
    assert "neocog train" in text
    assert name == "quick" or f"--recipe {name}" in text


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
