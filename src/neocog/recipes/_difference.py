"""In which fields two recipes differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from neocog.train.recipe import Recipe, field_names

UNSET = "-"
"""Stands for an edit that one of the two does not make: the network's own value."""


class Difference(NamedTuple):
    """A field in which two recipes differ.

    Attributes:
        stage: of the training, counted from 0.
        field: dotted name, as `--set` takes it; an edit of the network is "edits.stem", say.
        values: of the two; `UNSET` where an edit is not made.
    """

    stage: int
    field: str
    values: tuple[Any, Any]


def flat(recipe: Recipe) -> dict[str, Any]:
    """Return every field of `recipe` by its dotted name; each edit and each field that varies has a name of its own."""
    found: dict[str, Any] = {}
    for name in field_names(recipe):
        value: Any = recipe
        for part in name.split("."):
            value = getattr(value, part)
        if name in ("edits", "vary"):
            found |= {f"{name}.{key}": item for key, item in value.items()}
        else:
            found[name] = value
    return found


def differences(one: Sequence[Recipe], other: Sequence[Recipe]) -> list[Difference]:
    """Return the fields in which two recipes differ, stage by stage, as far as both have stages.

    Their names are not compared.

    Args:
        one: the stages of a recipe; of most there is one.
        other: those of the other.
    """
    found = []
    for stage, (first, second) in enumerate(zip(one, other, strict=False)):
        left, right = flat(first), flat(second)
        for field in dict.fromkeys((*left, *right)):
            values = left.get(field, UNSET), right.get(field, UNSET)
            if values[0] != values[1] and field != "name":
                found.append(Difference(stage, field, values))
    return found
