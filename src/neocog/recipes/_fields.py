"""A recipe's fields as phrases ask for them, and values as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from neocog.recipes._difference import flat
from neocog.train.recipe import Recipe

DEFAULTS = flat(Recipe())


class Fields:
    """A recipe's fields by their dotted names, and which of them have been asked for.

    What a recipe sets and no phrase asks for has no effect: a phrase asks for a field only where it has one.
    """

    def __init__(self, recipe: Recipe, *, begun: bool = False) -> None:
        self.begun = begun  # by an earlier stage, and so not from scratch
        self.values = flat(recipe)
        self.edits = dict(recipe.edits)
        self.vary = dict(recipe.vary)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return self.values[name]

    def ever(self, name: str) -> bool:
        """Return whether a field is ever on, in whichever epoch."""
        self.asked.add(name)
        values = [self.values[name], *(value for _, value in self.vary.get(name, ()))]
        return any(value not in (0, None, False, "none") for value in values)

    def unsaid(self) -> Mapping[str, Any]:
        """Return the fields that are not as they are by default and that nobody asked for."""
        said = {*self.asked, *(f"edits.{name}" for name in self.edits), *(f"vary.{name}" for name in self.vary)}
        return {
            name: value
            for name, value in self.values.items()
            if name not in said and (name not in DEFAULTS or value != DEFAULTS[name])
        }


def plain(value: Any) -> str:
    """Return a value as people write it: 0.0005, 5e-5; with every digit that it has."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"({', '.join(plain(item) for item in value)})"
    if not isinstance(value, float):
        return str(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return re.sub(r"e([+-])0*", r"e\1", repr(value)).replace("e+", "e")


def quotient(value: float) -> str:
    """Return a number as a quotient of two small ones where it is one: 3/4."""
    nearest = Fraction(value).limit_denominator(12)
    return str(nearest) if float(nearest) == value else plain(value)


def percent(share: float) -> str:
    """Return a share in per cent, or as a quotient such as 1/3."""
    hundredfold = round(100 * share, 12)
    return quotient(share) if len(repr(hundredfold)) > 9 else f"{plain(hundredfold)} %"


def listed(items: Sequence[str], last: str = " and ") -> str:
    """Return "a, b and c"."""
    return last.join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def share_range(least: float, most: float) -> str:
    """Return "8 to 100 %", or "2 % to 1/3"."""
    low, high = percent(least), percent(most)
    return f"{low.removesuffix(' %') if high.endswith('%') else low} to {high}"
