"""Recipes: one file each, whose docstring states the command, the cost and the measured result.

A recipe file holds `recipe(facts)`, which returns a `Recipe`, or for training in stages a tuple of them. Most ignore
the facts, because a paper's recipe does not depend on one's data; `quick` lives by them. A file whose name begins with
an underscore is not a recipe.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules

from neocog.errors import UnknownNameError, UsageError
from neocog.recipes._curves import Curve, schedule_curves
from neocog.recipes._difference import Difference, differences
from neocog.recipes._facts import Facts
from neocog.recipes._words import in_words, stages_in_words
from neocog.train.recipe import Recipe

__all__ = [
    "Curve",
    "Difference",
    "Facts",
    "Recipe",
    "build_recipe",
    "build_stages",
    "differences",
    "explain_recipe",
    "in_words",
    "list_recipes",
    "schedule_curves",
    "stages_in_words",
]


def list_recipes() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def build_recipe(name: str, facts: Facts) -> Recipe:
    """Return recipe `name`, which is of one stage, for the data and machine that `facts` describes.

    Raises:
        UnknownNameError: there is no such recipe; the message names the near ones.
        UsageError: it trains in stages.
    """
    stages = build_stages(name, facts)
    if len(stages) > 1:
        networks = ", ".join(stage.model for stage in stages)
        raise UsageError(f"recipe {name} trains {len(stages)} networks one after the other ({networks}); take another")
    return stages[0]


def build_stages(name: str, facts: Facts) -> tuple[Recipe, ...]:
    """Return the stages of recipe `name`: most have one, and VGG's each begin where the one before ended.

    Raises:
        UnknownNameError: there is no such recipe; the message names the near ones.
    """
    _check(name)
    built: Recipe | tuple[Recipe, ...] = import_module(f"{__name__}.{name}").recipe(facts)
    stages = (built,) if isinstance(built, Recipe) else built
    return tuple(stage.model_copy(update={"name": name}) for stage in stages)


def explain_recipe(name: str) -> str:
    """Return the docstring of recipe `name`: its first line is a summary."""
    _check(name)
    return inspect.getdoc(import_module(f"{__name__}.{name}")) or ""


def _check(name: str) -> None:
    if name not in list_recipes():
        raise UnknownNameError("recipe", name, list_recipes(), where="neocog recipes")
