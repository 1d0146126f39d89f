"""What a recipe does in words: nothing that it sets goes unsaid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from neocog.errors import UsageError
from neocog.recipes import Facts, Recipe, build_stages, in_words, list_recipes, stages_in_words
from neocog.recipes._fields import Fields, percent, plain, quotient
from neocog.recipes._phrases import PHRASES
from neocog.train.recipe import field_names

NAMES = field_names(Recipe())
FACTS = Facts(weights_at_hand=lambda name: True)
RECIPES = [(name, stage) for name in list_recipes() for stage in build_stages(name, FACTS)]
GIVEN = {  # values of fields from which none can be made up
    "edits": [{"stem": "small"}, {"dropout": 0.2}],
    "weights": ["default", "a1_in1k", None],
    "vary": [{"image_size": ((0, 96), (3, 128))}, {"augment.flip": ((2, 0.1),)}],
    "model": ["resnet34", "vgg16"],
    "name": ["another"],
    "schedule.milestones": [(1.0,), (1.0, 2.0)],
}


def told(recipe: Recipe) -> str:
    return "\n".join(f"{said.about}: {said.words}" for said in in_words(recipe))


def alternatives(recipe: Recipe, name: str) -> Iterator[Any]:
    """Yield values of a field that differ from the recipe's."""
    *groups, leaf = name.split(".")
    owner: Any = recipe
    for group in groups:
        owner = getattr(owner, group)
    now, kind = getattr(owner, leaf), type(owner).model_fields[leaf].annotation
    choices = GIVEN.get(name) or [item for part in (kind, *get_args(kind)) for item in get_args(part)]
    choices = [item for item in choices if not isinstance(item, type)]
    if isinstance(now, bool):
        choices += [not now]
    elif isinstance(now, int | float):
        choices += [now + 1, now + 0.0625, now / 2, now - 0.03125]
    elif isinstance(now, tuple) and now and name not in GIVEN:
        choices += [(now[0] / 2, now[1]), (now[0] + 1, now[1] + 2)]
    elif now is None and name not in GIVEN:
        choices += [2, 0.25, "text"]
    yield from (choice for choice in choices if choice != now)


@pytest.mark.parametrize(("name", "recipe"), RECIPES, ids=[f"{n}-{r.model}" for n, r in RECIPES])
def test_changing_any_field_changes_the_words(name: str, recipe: Recipe) -> None:
    before, tried = told(recipe), set()
    for field in NAMES:
        for value in alternatives(recipe, field):
            try:
                changed = recipe.override({field: value})
            except UsageError:
                continue  # such a recipe there cannot be
            if changed != recipe:
                assert told(changed) != before, (field, value)
                tried.add(field)
    assert len(tried) > 40


def test_phrases_ask_for_every_field_where_it_has_an_effect() -> None:
    """A field that no phrase knows would always be listed as one without effect."""
    asked: set[str] = set()
    for changes in (
        {},
        {"optimizer.name": "muon", "unfreeze": 1, "schedule.name": "linear", "augment.crop": "pad"},
        {"optimizer.name": "lamb", "schedule.name": "step", "schedule.milestones": (1, 2), "schedule.warmup_epochs": 1},
        {"optimizer.name": "adadelta", "optimizer.eps": 1e-5, "augment.crop": "scale", "average.decay": 0.9},
        {"loss.auxiliary_weight": 0.3, "mix.mixup": 0.1, "mix.cutmix": 1, "augment.policy": "randaugment"},
        {"augment.erase": 0.5, "average.name": "uniform"},
        {"average.name": "lookahead", "average.decay": 0.5, "focus.share": 0.2},
    ):
        fields = Fields(Recipe().override(changes))
        for phrase in PHRASES.values():
            phrase(fields)
        asked |= fields.asked
    assert set(NAMES) - asked == {"edits", "vary"}  # which are told item by item


@pytest.mark.parametrize(("name", "recipe"), RECIPES, ids=[f"{n}-{r.model}" for n, r in RECIPES])
def test_no_recipe_sets_what_has_no_effect(name: str, recipe: Recipe) -> None:
    assert "no effect" not in [said.about for said in in_words(recipe)]


def test_what_has_no_effect_is_named_as_such() -> None:
    # What the crop and the blending of a recipe do not read, it refuses itself.
    recipe = Recipe(loss={"auxiliary_threshold": 0.5, "auxiliary_decay": True})
    assert in_words(recipe)[-1] == ("no effect", "loss.auxiliary_threshold=0.5, loss.auxiliary_decay=true")


def test_words_of_a_recipe_read_as_its_paper() -> None:
    said = dict(in_words(build_stages("wide_resnet_2016_cifar", FACTS)[0]))
    assert said["run"] == "wide_resnet_2016_cifar: 200 epochs of batches of 128"
    assert said["optimiser"] == "SGD; Nesterov's momentum 0.9; weight decay 0.0005, on all parameters"
    assert said["rate"] == "0.1, multiplied by 0.2 after 60, 120 and 160 epochs"
    assert "blended" not in said
    said = dict(in_words(build_stages("resnet_strikes_back_a3", FACTS)[0]))
    assert said["changing"] == "trained at 160 pixels"
    assert said["rate"] == "0.008, to which it rises from 0 in 5 epochs; then along a cosine to 0"


def test_mirroring_in_turn_and_a_reflected_border_are_told() -> None:
    recipe = Recipe().override({"augment.crop": "pad", "augment.border": "reflect", "augment.alternate": True})
    said = dict(in_words(recipe.override({"views": "flip_shift"})))
    assert "shifted by up to 4 pixels each way, its reflection coming in; mirrored every other epoch" in said["images"]
    assert said["measured"].endswith("on each image, moved by a pixel and not, and the mirror images, averaged")
    seldom = dict(in_words(recipe.override({"augment.flip": 0.25})))["images"]
    assert "mirrored with probability 0.25, by a draw that odd epochs move by half" in seldom
    black = dict(in_words(Recipe().override({"augment.crop": "pad"})))["images"]
    assert "black coming in; mirrored half the time" in black


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (((0, 96), (5, 128), (8, 160)), "trained at 96 pixels, at 128 from epoch 5 and at 160 from epoch 8"),
        (((3, 128),), "image_size is 128 from epoch 3"),
    ],
)
def test_sizes_that_grow_are_told_in_pixels(steps: tuple[tuple[int, int], ...], words: str) -> None:
    assert dict(in_words(Recipe(vary={"image_size": steps})))["changing"] == words


def test_later_stages_say_only_what_is_new_in_them() -> None:
    first, *later = stages_in_words(build_stages("vgg_2014", FACTS))
    assert ("network", "vgg11, from scratch") in first
    assert [[said.about for said in lines] for lines in later] == [["begins", "network"]] * 3
    assert later[1][1].words == "vgg16"


def test_regular_steps_are_said_in_short() -> None:
    said = dict(in_words(build_stages("googlenet_2014", FACTS)[0]))
    assert said["rate"] == "0.01, multiplied by 0.96 every 8 epochs up to 248"


@pytest.mark.parametrize(
    ("value", "text"),
    [(5e-5, "5e-5"), (0.0005, "0.0005"), (1.0, "1"), (1e-6, "1e-6"), (0.1 + 0.2, "0.30000000000000004"),
     (True, "true"), (None, "none"), ((0.5, 1.0), "(0.5, 1)"), ("step", "step"), (-3, "-3"), (2.5e20, "2.5e20")],
)  # fmt: skip
def test_values_are_written_with_all_their_digits(value: object, text: str) -> None:
    assert plain(value) == text


def test_shares_are_written_in_per_cent_where_that_is_short() -> None:
    assert [percent(share) for share in (0.08, 0.1, 1.0, 1 / 3, 0.07)] == ["8 %", "10 %", "100 %", "1/3", "7 %"]
    assert [quotient(ratio) for ratio in (3 / 4, 4 / 3, 0.123)] == ["3/4", "4/3", "0.123"]
