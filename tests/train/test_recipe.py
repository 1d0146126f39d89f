from __future__ import annotations

import pytest

from neocog.errors import UnknownNameError, UsageError
from neocog.train.recipe import Recipe, field_names


def test_an_override_sets_a_nested_field_and_leaves_the_original_alone() -> None:
    recipe = Recipe()
    changed = recipe.override({"optimizer.lr": 0.5, "epochs": 3})
    assert (changed.optimizer.lr, changed.epochs) == (0.5, 3)
    assert recipe.optimizer.lr == 0.1


def test_an_unknown_field_names_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"optimizer\.lr"):
        Recipe().override({"optimiser.lr": 0.5})


@pytest.mark.parametrize(
    "change", [{"optimizer.lr": -1}, {"epochs": 0}, {"precision": "fp8"}, {"batch_size": "x"}, {"seed": 2**64}]
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
