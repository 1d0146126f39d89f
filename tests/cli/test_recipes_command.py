from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

from neocog.cli._options import parse_settings
from neocog.recipes import Recipe, explain_recipe, list_recipes

Command = Callable[..., SimpleNamespace]


def test_all_recipes_are_listed_with_their_first_line(command: Command) -> None:
    _, *lines = command("recipes").out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        [name, explain_recipe(name).splitlines()[0]] for name in list_recipes()
    ]


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
