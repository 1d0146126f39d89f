"""`neocog recipes`: the ways to train, and what each decides."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from neocog.cli._options import Json
from neocog.cli._output import Column, print_json, print_table, say


def list_all(context: typer.Context) -> None:
    """List the recipes: what decides how training goes.

    Examples:
      neocog recipes
      neocog recipes show resnet_2015_cifar
    """
    if context.invoked_subcommand is not None:
        return
    from neocog.recipes import explain_recipe, list_recipes

    rows = [(name, explain_recipe(name).partition("\n")[0]) for name in list_recipes()]
    print_table([Column("recipe"), Column("what it is")], rows)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Recipe; neocog recipes lists them.")],
    as_json: Json = False,
) -> None:
    """Print a recipe's description and its fields, as --set takes them.

    A recipe that suits itself to the data is shown as it is for 1,000 colour photographs on a CPU, with
    published weights at hand.

    Example:
      neocog recipes show quick
    """
    from neocog.recipes import Facts, build_recipe, explain_recipe
    from neocog.train.recipe import field_names

    recipe = build_recipe(name, Facts(weights_at_hand=lambda model: True))
    if as_json:
        print_json(recipe.model_dump(mode="json"))
        return
    say(explain_recipe(name))
    say()
    names = field_names(recipe)
    width = max(len(each) for each in names)
    for each in names:
        value = recipe.model_dump(mode="json")
        for part in each.split("."):
            value = value[part]
        say(f"  {each:<{width}} = {value if isinstance(value, str) else json.dumps(value)}")
