"""What a recipe does, in words: every field that has an effect is said, and those that have none are named as such."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from neocog.recipes._fields import Fields, plain
from neocog.recipes._phrases import PHRASES
from neocog.train.recipe import Recipe


class Said(NamedTuple):
    """One thing that a recipe does.

    Attributes:
        about: what it is about, such as "rate".
        words: what is done, in words.
    """

    about: str
    words: str


def stages_in_words(stages: Sequence[Recipe]) -> list[list[Said]]:
    """Return what each stage of a recipe does; of each but the first, what it does not do as the one before did."""
    told = [in_words(stages[0])]
    for number, (before, stage) in enumerate(pairwise(stages), 1):
        known = in_words(before, begun=True)
        what = "its weights" if stage.model == before.model else f"layers of its {before.model}"
        begins = Said("begins", f"where stage {number} ended, with {what}; what is not said here is as before")
        told.append([begins, *(said for said in in_words(stage, begun=True) if said not in known)])
    return told


def in_words(recipe: Recipe, *, begun: bool = False) -> list[Said]:
    """Return what `recipe` does, a few words for each of its parts.

    Args:
        recipe: the recipe, or one of its stages.
        begun: whether an earlier stage gives it its weights.
    """
    fields = Fields(recipe, begun=begun)
    lines = [Said(about, phrase(fields)) for about, phrase in PHRASES.items()]
    if idle := fields.unsaid():
        lines.append(Said("no effect", ", ".join(f"{name}={plain(value)}" for name, value in idle.items())))
    return [line for line in lines if line.words]
