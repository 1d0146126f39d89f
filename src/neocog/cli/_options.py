"""Options that several commands share, so that they read and mean the same in each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from neocog.errors import UsageError


def complete_model(incomplete: str) -> list[str]:
    """Return the networks whose names begin so, for the shell to complete."""
    from neocog.catalog import list_models

    return [name for name in list_models() if name.startswith(incomplete)]


SOURCE_HELP = "Folder, table, shards, or the name of a data set such as digits, mnist or cifar10."

Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)]
ModelFile = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model file, or a network's name for its published weights.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N.", show_default="a GPU where there is one"),
]
DataDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Where local copies of a named data set lie.")]
BatchSize = Annotated[int, typer.Option(min=1, metavar="N", help="Images that go through the network at once.")]
Views = Annotated[
    Literal["centre", "flip", "flip_shift", "ten_crop", "multi_scale"],
    typer.Option(
        "--views",
        metavar="VIEWS",
        help="Averaged: centre (one crop), flip (and its mirror image), flip_shift (and both moved by a pixel), "
        "ten_crop (corners and centre, and their mirror images) or multi_scale (three sizes, and their mirror images).",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Network; neocog models lists them.",
        show_default="the recipe's",
        autocompletion=complete_model,
    ),
]
RecipeName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Recipe; neocog recipes lists them.", show_default="quick")
]
WeightsName = Annotated[
    str | None,
    typer.Option(
        metavar="TAG|FILE",
        help="Weights to start from: default, a tag, or a file.",
        show_default="the recipe's",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any field of the recipe, such as optimizer.lr=0.05. Repeatable."),
]

Network = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="A name of neocog models, a model file, or module:callable for a network of your own.",
        autocompletion=complete_model,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Height and width of the images.", show_default="the network's own"),
]
InputShape = Annotated[
    str | None,
    typer.Option("--input", metavar="C,H,W", help="Shape of an image.", show_default="the network's own"),
]


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Return "3,64,64" as numbers; None for None.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) < 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--input takes channels, height and width, such as 3,224,224; not {text!r}")
    return tuple(int(part) for part in parts)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return `NAME=VALUE` texts as a mapping; a value is read as JSON where it is JSON, else it is a text.

    Raises:
        UsageError: a text without a name or without "=".
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {setting} has no value; write --set NAME=VALUE, such as --set optimizer.lr=0.05")
        try:
            changes[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            changes[name.strip()] = None if value.strip().lower() == "none" else value
    return changes
