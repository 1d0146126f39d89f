"""Recipes: one file each, whose docstring states the command, the cost and the measured result.

A recipe file holds `recipe(facts) -> Recipe`. Most ignore the facts, because a paper's recipe does not depend on
one's data; `quick` lives by them. A file whose name begins with an underscore is not a recipe.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules

from neocog.errors import UnknownNameError
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe

__all__ = ["Facts", "Recipe", "build_recipe", "explain_recipe", "list_recipes"]


def list_recipes() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def build_recipe(name: str, facts: Facts) -> Recipe:
    """Return recipe `name` for the data and machine that `facts` describes.

    Raises:
        UnknownNameError: there is no such recipe; the message names the near ones.
    """
    _check(name)
    recipe: Recipe = import_module(f"{__name__}.{name}").recipe(facts)
    return recipe.model_copy(update={"name": name})


def explain_recipe(name: str) -> str:
    """Return the docstring of recipe `name`: its first line is a summary."""
    _check(name)
    return inspect.getdoc(import_module(f"{__name__}.{name}")) or ""


def _check(name: str) -> None:
    if name not in list_recipes():
        raise UnknownNameError("recipe", name, list_recipes(), where="neocog recipes")
