from __future__ import annotations

import pytest

from neocog.data.augment import Augmentation
from neocog.data.mixing import Mixing
from neocog.errors import UnknownNameError, UsageError
from neocog.recipes import Facts, build_stages, list_recipes
from neocog.train.recipe import Average, Optimizer, Recipe, Schedule, field_names


def test_an_override_sets_a_nested_field_and_leaves_the_original_alone() -> None:
    recipe = Recipe()
    changed = recipe.override({"optimizer.lr": 0.5, "epochs": 3})
    assert (changed.optimizer.lr, changed.epochs) == (0.5, 3)
    assert recipe.optimizer.lr == 0.1


def test_an_unknown_field_names_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"optimizer\.lr"):
        Recipe().override({"optimiser.lr": 0.5})


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer.lr": -1},
        {"epochs": 0},
        {"precision": "fp8"},
        {"batch_size": "x"},
        {"seed": 2**64},
        {"image_size": 4097},
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_name(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        Recipe().override(change)


def test_momenta_of_one_or_more_are_refused() -> None:
    with pytest.raises(UsageError, match=r"optimizer\.betas"):
        Recipe().override({"optimizer.betas": [2, 3]})


def test_a_rate_must_be_finite() -> None:
    with pytest.raises(UsageError, match=r"optimizer\.lr"):
        Recipe().override({"optimizer.lr": float("inf")})


def test_an_edit_has_one_name() -> None:
    with pytest.raises(UnknownNameError):
        Recipe().override({"edits.stem.foo": 1})


def test_edits_of_the_network_may_have_any_name_here() -> None:
    assert Recipe().override({"edits.stem": "small"}).edits == {"stem": "small"}


def test_a_recipe_survives_json() -> None:
    recipe = Recipe().override(
        {
            "schedule.name": "step",
            "schedule.milestones": [3, 5],
            "optimizer.name": "adamw",
            "optimizer.betas": [0.8, 0.9],
            "vary": {"augment.scale": [[2, [0.5, 1]]], "image_size": [[0, 96]]},
        }
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_every_field_can_be_overridden_by_its_own_value() -> None:
    recipe = Recipe()
    for name in field_names(recipe):
        value: object = recipe
        for part in name.split("."):
            value = getattr(value, part)
        assert recipe.override({name: value}) == recipe


VARYING = Recipe(
    image_size=224,
    vary={
        "image_size": ((0, 128), (6, 160)),
        "augment.policy_magnitude": ((3, 5), (6, 15)),
        "augment.affine.translate": ((2, 0.1),),
        "mix.mixup": ((6, 0.2),),
        "loss.label_smoothing": ((1, 0.1),),
    },
)


@pytest.mark.parametrize(
    ("epoch", "size", "magnitude", "shift", "mixup", "smoothing"),
    [(0, 128, 9, 0.0, 0.0, 0.0), (2, 128, 9, 0.1, 0.0, 0.1), (5, 128, 5, 0.1, 0.0, 0.1), (6, 160, 15, 0.1, 0.2, 0.1)],
)
def test_what_varies_has_in_each_epoch_the_value_that_it_has_by_then(
    epoch: int, size: int, magnitude: float, shift: float, mixup: float, smoothing: float
) -> None:
    now = VARYING.at(epoch)
    assert (now.image_size, now.augment.policy_magnitude, now.mix.mixup) == (size, magnitude, mixup)
    assert (now.augment.affine.translate, now.loss.label_smoothing) == (shift, smoothing)
    assert now.optimizer == VARYING.optimizer


def test_a_recipe_in_which_nothing_varies_is_the_same_in_every_epoch() -> None:
    recipe = Recipe()
    assert recipe.at(5) is recipe


def test_values_that_vary_are_read_as_their_field_reads_them() -> None:
    recipe = Recipe().override({"vary": {"augment.scale": [[2, [0.5, 1]]], "image_size": [[0, "96"]]}})
    assert recipe.vary == {"augment.scale": ((2, (0.5, 1.0)),), "image_size": ((0, 96),)}
    assert recipe.override({"vary.image_size": [[0, 128], [6, 160]]}).at(7).image_size == 160


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ({"epochs": [[0, 1]]}, "epochs cannot vary over epochs; image_size, loss.label_smoothing, augment.*"),
        ({"loss.name": [[0, "margin"]]}, "loss.name cannot vary"),
        ({"augment.flup": [[0, 1]]}, "did you mean augment.flip"),
        ({"image_size": [[3, 10], [1, 5]]}, r"epochs ascending, not \[\[3, 10\], \[1, 5\]\]"),
        ({"image_size": [[3, 10], [3, 5]]}, "epochs ascending"),
        ({"image_size": []}, "epochs ascending"),
        ({"image_size": [[0.5, 10]]}, "fractional part"),
        ({"image_size": [[-1, 10]]}, "greater than or equal to 0"),
        ({"image_size": [[0, 0]]}, "image_size: input should be greater than or equal to 1, not 0"),
        ({"image_size": [[0, 4097]]}, "image_size: input should be less than or equal to 4096, not 4097"),
        ({"augment.pad": [[0, 257]]}, "augment.pad: input should be less than or equal to 256"),
        ({"image_size": 5}, "valid tuple"),
        ({"augment.flip": [[2, "x"]]}, "from epoch 2 on, recipe field augment.flip: .*, not 'x'"),
        ({"augment.scale": [[0, [2, 1]]]}, "from epoch 0 on, scale must be two shares"),
        ({"mix.mixup": [[4, -1]]}, "mix.mixup"),
        ({"loss.label_smoothing": [[0, 1.5]]}, "loss.label_smoothing"),
    ],
)
def test_what_cannot_vary_so_is_refused(vary: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Recipe().override({"vary": vary})


def test_no_value_is_the_word_none_where_a_field_has_that_word() -> None:
    recipe = Recipe().override({"augment.crop": None, "augment.policy": None, "image_size": None})
    assert (recipe.augment.crop, recipe.augment.policy, recipe.image_size) == ("none", "none", None)
    with pytest.raises(UsageError, match="epochs"):
        Recipe().override({"epochs": None})


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (
            {"augment": Augmentation(crop="none", pad=8)},
            r"augment\.pad is 8, but augment\.crop=none does not read it \(pad",
        ),
        (
            {"augment": Augmentation(sides=(256, 512))},
            r"augment\.sides is .*random_resized does not read it \(scale does",
        ),
        ({"augment": Augmentation(crop="pad", scale=(0.5, 1))}, r"augment\.scale is .*\(random_resized does"),
        ({"augment": Augmentation(crop="pad", ratio=(0.5, 1))}, r"augment\.ratio is "),
        (
            {"augment": Augmentation(erase_fill="mean")},
            r"nothing reads it without augment\.erase above 0: set it back to",
        ),
        ({"augment": Augmentation(erase_area=(0.1, 0.2))}, r"augment\.erase_area is "),
        ({"augment": Augmentation(border="reflect")}, r"augment\.border is 'reflect', .*\(pad does"),
        ({"augment": Augmentation(flip=0, alternate=True)}, r"nothing reads it without augment\.flip above 0"),
        ({"augment": Augmentation(policy_ops=3)}, r"augment\.policy_ops is 3, .* choose another augment\.policy"),
        ({"augment": Augmentation(policy="autoaugment", policy_magnitude=5)}, r"policy=autoaugment does not read it"),
        ({"mix": Mixing(mixup=1.0, switch=0.2)}, r"without mix\.cutmix above 0"),
        ({"mix": Mixing(probability=0.2)}, r"without mix\.mixup above 0 or mix\.cutmix above 0"),
        ({"schedule": {"warmup_start": 0.1}}, r"schedule\.warmup_start is 0\.1, .* schedule\.warmup_epochs above 0"),
        ({"average": {"start": 0.5}}, r"without average\.decay above 0 or average\.name=uniform"),
        ({"average": {"warmup": False}}, r"without average\.decay above 0: set it back"),
    ],
)
def test_a_field_that_nothing_reads_is_refused(groups: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Recipe(**groups)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "groups",
    [
        {"augment": Augmentation(crop="none", pad=8), "vary": {"augment.crop": ((2, "pad"),)}},
        {"augment": Augmentation(erase_fill="mean"), "vary": {"augment.erase": ((2, 0.25),)}},
        {"mix": Mixing(mixup=0.2, switch=0.1), "vary": {"mix.cutmix": ((1, 1.0),)}},
        {"vary": {"augment.policy_magnitude": ((1, 5),)}},
        {"schedule": Schedule(warmup_epochs=1, warmup_start=0.1)},
        {"average": Average(name="uniform", start=0.5)},
        {"average": Average(decay=0.9, start=0.5, warmup=False)},
    ],
)
def test_a_field_that_some_epoch_reads_is_not(groups: dict[str, object]) -> None:
    recipe = Recipe(**groups)  # type: ignore[arg-type]
    for epoch in range(4):
        now = recipe.at(epoch)
        assert (now.augment.pad, now.mix.switch) == (recipe.augment.pad, recipe.mix.switch)
        assert now.augment.erase_fill == recipe.augment.erase_fill


@pytest.mark.parametrize("name", list_recipes())
@pytest.mark.parametrize(
    "change",
    [
        {"augment.crop": "none"},
        {"augment.crop": None},
        {"augment.crop": "pad"},
        {"augment.policy": "none"},
        {"augment.erase": 0},
        {"mix.mixup": 0, "mix.cutmix": 0},
        {"schedule.warmup_epochs": 0},
        {"average.decay": 0},
        {"average.name": "uniform"},
        {"schedule.name": "constant"},
        {"optimizer.name": "adamw"},
        {"optimizer.name": "sgd"},
        {"optimizer.name": "muon"},
        {"optimizer.name": "sgd", "optimizer.momentum": 0},
        {"vary": {}},
    ],
    ids=str,
)
def test_every_recipe_takes_another_choice_without_further_settings(name: str, change: dict[str, object]) -> None:
    if change == {"average.decay": 0}:
        change = {"average.name": "exponential", **change}
    for facts in (Facts(weights_at_hand=lambda model: True), Facts(small=True, image_size=(32, 32))):
        for recipe in build_stages(name, facts):
            changed = recipe.override(change)
            assert changed.override({}) == changed


def test_what_another_choice_does_not_read_goes_back_to_its_default() -> None:
    recipe = Recipe(optimizer=Optimizer(nesterov=True, momentum=0.8), augment=Augmentation(crop="pad", pad=8, flip=0))
    changed = recipe.override({"optimizer.name": "adamw", "augment.crop": "none"})
    assert (changed.optimizer, changed.augment) == (Optimizer(name="adamw"), Augmentation(crop="none", flip=0))


def test_what_is_set_together_with_a_choice_that_does_not_read_it_is_refused() -> None:
    recipe = Recipe(augment=Augmentation(crop="pad", pad=8))
    with pytest.raises(UsageError, match=r"augment\.pad is 6"):
        recipe.override({"augment.crop": "none", "augment.pad": 6})
    with pytest.raises(UsageError, match=r"optimizer\.momentum is 0\.8, but adamw does not read it"):
        recipe.override({"optimizer.name": "adamw", "optimizer.momentum": 0.8})


def test_values_of_an_unread_field_that_cannot_be_are_refused_as_ever() -> None:
    for change in ({"augment.erase": "x"}, {"augment.crop": ["pad"]}, {"vary": 5}, {"vary": [1]}):
        with pytest.raises(UsageError, match=next(iter(change))):
            Recipe().override(change)


def test_a_batch_holds_an_image_no_more_often_than_it_has_images() -> None:
    assert Recipe().override({"repeats": 4, "batch_size": 4}).repeats == 4
    with pytest.raises(UsageError, match="a batch of 4 cannot hold an image 5 times: set repeats to at most 4"):
        Recipe().override({"repeats": 5, "batch_size": 4})
