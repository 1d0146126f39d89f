"""The schedules of a recipe as curves, and the fields in which two recipes differ."""

from __future__ import annotations

import pytest

from neocog.recipes import Facts, Recipe, build_stages, differences, list_recipes, schedule_curves
from neocog.train.schedules import learning_rate


def test_the_rate_is_the_one_that_the_loop_takes() -> None:
    (stage,) = build_stages("deit_2020", Facts())
    (curve,) = schedule_curves([stage], 100)
    assert curve.name == "learning rate"
    assert curve.epochs[:2] == pytest.approx((1.5, 4.5))
    assert curve.values == tuple(learning_rate(stage, epoch) for epoch in curve.epochs)
    assert max(curve.values) < curve.peak == learning_rate(stage, stage.schedule.warmup_epochs)
    assert not curve.logarithmic


def test_stages_follow_one_another_and_begin_anew() -> None:
    stages = build_stages("vgg_2014", Facts())
    (curve,) = schedule_curves(stages, 4 * 74)
    assert curve.values[:74] == curve.values[74:148] == curve.values[-74:]
    assert (curve.values[73], curve.values[74]) == pytest.approx((1e-5, 1e-2))
    assert curve.logarithmic


def test_whatever_number_varies_has_a_curve() -> None:
    vary = {
        "image_size": ((0, 96), (5, 128)),
        "mix.mixup": ((8, 0.5),),
        "augment.policy": ((3, "trivialaugment"),),
        "augment.flip": ((0, 0.5),),
    }
    recipe = Recipe(epochs=10, vary=vary, loss={"auxiliary_weight": 0.3, "auxiliary_decay": True})
    curves = {curve.name: curve.values for curve in schedule_curves([recipe], 10)}
    assert list(curves) == ["learning rate", "image_size", "mix.mixup", "loss.auxiliary_weight"]
    assert curves["image_size"] == (96,) * 5 + (128,) * 5
    assert curves["mix.mixup"] == (0,) * 8 + (0.5,) * 2
    assert curves["loss.auxiliary_weight"] == pytest.approx([0.3 * (1 - epoch / 10) for epoch in range(10)])


@pytest.mark.parametrize("name", list_recipes())
def test_no_rate_is_above_the_peak(name: str) -> None:
    stages = build_stages(name, Facts())
    rates = [learning_rate(stage, epoch / 20) for stage in stages for epoch in range(20 * stage.epochs)]
    assert max(rates) == pytest.approx(schedule_curves(stages, 10)[0].peak, rel=1e-12)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_has_a_rate_throughout(name: str) -> None:
    stages = build_stages(name, Facts())
    for curve in schedule_curves(stages, 64):
        assert len(curve.values) == len(curve.epochs) == 64
        assert 0 < curve.epochs[0] < curve.epochs[-1] < sum(stage.epochs for stage in stages)
        assert min(curve.values) >= 0


def test_recipes_differ_field_by_field_and_edit_by_edit() -> None:
    one = Recipe(edits={"stem": "small", "width": 16}, optimizer={"lr": 0.1}, vary={"image_size": ((0, 96),)})
    other = one.override({"optimizer.lr": 0.2, "edits": {"stem": "small", "dropout": 0.5}, "vary": {}, "name": "other"})
    found = [(each.field, each.values) for each in differences([one], [other])]
    assert found == [
        ("edits.width", (16, "-")),
        ("optimizer.lr", (0.1, 0.2)),
        ("vary.image_size", (((0, 96),), "-")),
        ("edits.dropout", ("-", 0.5)),
    ]


def test_a_recipe_does_not_differ_from_itself() -> None:
    for name in list_recipes():
        assert differences(build_stages(name, Facts()), build_stages(name, Facts())) == []


def test_stages_are_compared_one_by_one() -> None:
    stages = build_stages("vgg_2014", Facts())
    changed = (stages[0], stages[1].override({"epochs": 10}), *stages[2:])
    assert differences(stages, changed) == [(1, "epochs", (74, 10))]
    assert differences(stages, changed[:1]) == []
