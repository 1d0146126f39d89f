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
    recipe = Recipe().override({"schedule.milestones": [3, 5], "optimizer.betas": [0.8, 0.9]})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_every_field_can_be_overridden_by_its_own_value() -> None:
    recipe = Recipe()
    for name in field_names(recipe):
        value: object = recipe
        for part in name.split("."):
            value = getattr(value, part)
        assert recipe.override({name: value}) == recipe
