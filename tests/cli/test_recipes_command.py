from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from neocog.cli._chart import chart
from neocog.cli._options import parse_settings
from neocog.recipes import Facts, Recipe, build_stages, explain_recipe, in_words, list_recipes

Command = Callable[..., SimpleNamespace]


def test_all_recipes_are_listed_with_their_first_line(command: Command) -> None:
    _, *lines = command("recipes").out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        [name, explain_recipe(name).splitlines()[0]] for name in list_recipes()
    ]


def test_all_recipes_are_listed_as_json(command: Command) -> None:
    found = json.loads(command("recipes", "--json").out)
    assert found == [{"recipe": name, "what_it_is": explain_recipe(name).splitlines()[0]} for name in list_recipes()]


def test_json_before_a_command_is_a_usage_error(command: Command) -> None:
    ended = command("recipes", "--json", "show", "quick")
    assert (ended.code, ended.out) == (2, "")
    assert "neocog recipes show NAME --json" in ended.err


def test_the_top_of_the_chart_is_the_peak_rate(command: Command) -> None:
    lines = command("recipes", "show", "quick").out.splitlines()
    top = lines[lines.index("learning rate") + 1].split("|")[0].strip()
    assert float(top) == json.loads(command("recipes", "show", "quick", "--json").out)["optimizer"]["lr"]


def test_the_fields_shown_can_be_given_back_with_set(command: Command) -> None:
    shown = command("recipes", "show", "resnet_2015_cifar").out
    fields = [line.strip() for line in shown.splitlines() if " = " in line]
    settings = parse_settings([field.replace(" ", "", field.index("=")).replace("= ", "=") for field in fields])
    rebuilt = Recipe().override({name.strip(): value for name, value in settings.items()})
    shown_as_json = json.loads(command("recipes", "show", "resnet_2015_cifar", "--json").out)
    assert rebuilt.model_dump(mode="json") == shown_as_json
    assert shown_as_json["epochs"] == 164


def test_a_recipe_is_shown_with_its_docstring(command: Command) -> None:
    assert command("recipes", "show", "quick").out.startswith(explain_recipe("quick"))


@pytest.mark.parametrize("name", ["googlenet_2014", "resnet_strikes_back_a3", "finetune"])
def test_a_recipe_is_shown_in_words(command: Command, name: str) -> None:
    shown = " ".join(command("recipes", "show", name).out.split())
    (stage,) = build_stages(name, Facts(weights_at_hand=lambda model: True))
    for about, words in in_words(stage):
        assert f"{about} {words}" in shown


def test_a_recipe_is_shown_with_a_chart_of_its_rate(command: Command) -> None:
    lines = command("recipes", "show", "wide_resnet_2016_cifar").out.splitlines()
    first = lines.index("learning rate, logarithmic") + 1
    assert lines[first].split("|")[0].strip() == "0.1"
    assert lines[first + 5].split("|")[0].strip() == "0.0008"
    heights = [sum(len(line.rstrip()) > column for line in lines[first : first + 6]) for column in range(10, 74)]
    assert heights == sorted(heights, reverse=True)  # the rate only falls
    assert lines[first + 7].endswith("epoch 200")


def test_each_stage_is_shown(command: Command) -> None:
    out = command("recipes", "show", "vgg_2014").out
    assert [f"\nstage {number}\n" in out for number in range(1, 6)] == [True] * 4 + [False]
    assert "vgg11, from scratch" in out
    assert "stage 4, where it differs from stage 3\n  model = vgg19\n" in out
    shown = json.loads(command("recipes", "show", "vgg_2014", "--json").out)
    assert [stage["model"] for stage in shown["stages"]] == ["vgg11", "vgg13", "vgg16", "vgg19"]


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_schedules_are_drawn_on_request(command: Command, tmp_path: Path, kind: str) -> None:
    figure = tmp_path / f"schedules.{kind}"
    ended = command("recipes", "show", "googlenet_2014", "-o", str(figure))
    assert ended.code == 0
    assert figure.stat().st_size > 1000
    assert ended.out.endswith(f"figure  {figure}\n")


def test_a_picture_of_no_known_kind_is_a_usage_error(command: Command, tmp_path: Path) -> None:
    ended = command("recipes", "show", "googlenet_2014", "-o", str(tmp_path / "schedules.xyz"))
    assert (ended.code, ended.out) == (2, "")
    assert "ends in .png, .svg or .pdf" in ended.err


def test_the_differing_fields_are_printed(command: Command) -> None:
    ended = command("recipes", "diff", "resnet_rs_07_dropout", "resnet_rs_08_weight_decay")
    assert ended.code == 0
    head, *rows = [line.split() for line in ended.out.splitlines()]
    assert head == ["field", "resnet_rs_07_dropout", "resnet_rs_08_weight_decay"]
    assert rows == [["optimizer.weight_decay", "0.0001", "4e-05"]]
    found = json.loads(command("recipes", "diff", "resnet_rs_07_dropout", "resnet_rs_08_weight_decay", "--json").out)
    assert found == {
        "recipes": ["resnet_rs_07_dropout", "resnet_rs_08_weight_decay"],
        "stages": [1, 1],
        "differences": [{"stage": 1, "field": "optimizer.weight_decay", "values": [1e-4, 4e-5]}],
    }


def test_equal_recipes_are_said_to_be(command: Command) -> None:
    ended = command("recipes", "diff", "quick", "quick")
    assert (ended.code, ended.out) == (0, "quick and quick train alike\n")
    assert json.loads(command("recipes", "diff", "quick", "quick", "--json").out)["differences"] == []


def test_recipes_of_unequally_many_stages_are_compared_as_far_as_both_go(command: Command) -> None:
    out = command("recipes", "diff", "vgg_2014", "alexnet_2012").out.splitlines()
    assert out[0] == "vgg_2014 has 4 stages, alexnet_2012 1 stage; those that both have are compared"
    assert out[1].split() == ["stage", "field", "vgg_2014", "alexnet_2012"]
    assert {line.split()[0] for line in out[2:]} == {"1"}


@pytest.mark.parametrize(
    "arguments", [("show", "vgg_2015"), ("diff", "quick", "vgg_2015"), ("diff", "vgg_2015", "quick")]
)
def test_an_unknown_recipe_is_a_usage_error_that_names_the_near_ones(
    command: Command, arguments: tuple[str, ...]
) -> None:
    ended = command("recipes", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "vgg_2014" in ended.err


def test_a_chart_rises_with_its_values() -> None:
    lines = chart([0, 1, 2, 3, 4, 5, 6, 7, 8], until=9, rows=1)
    assert lines[0] in ("8 | ▁▂▃▄▅▆▇█", "8 |    #####")
    assert lines[1:] == ["  +---------", "   0 epoch 9"]
    high = [line.split("|")[1] for line in chart([1, 10, 100], until=3, logarithmic=True, rows=24)[:24]]
    heights = [sum(len(line.rstrip()) > column for line in high) for column in range(3)]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=1)


def test_a_chart_has_room_for_a_peak_between_its_columns() -> None:
    lines = chart([0, 2, 2, 0], until=4, rows=2, peak=4)
    assert [line.split("|")[0].strip() for line in lines[:2]] == ["4", "0"]
    assert lines[0].split("|")[1] == ""


def test_a_chart_of_a_constant_is_flat() -> None:
    top, bottom, *_ = chart([0.5, 0.5], until=2, rows=2)
    assert top.split("|")[1] == bottom.split("|")[1]
