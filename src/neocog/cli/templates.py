"""`neocog templates`: what a linear classifier compares images with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neocog.cli._options import Network
from neocog.cli._output import printable, say


def templates(
    network: Network,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Picture to write.")] = Path("templates.png"),
) -> None:
    """Draw the weights of a linear classifier or an MLP as whole images.

    A layer that sees all pixels at once has one weight for each, and so each of its units is an image: what it looks
    for, in the place where it looks. A linear classifier has one template a class, in which all poses of the class
    are mixed.

    Examples:
      neocog train cifar10 --model linear_cifar10 --out runs/linear
      neocog templates runs/linear/model.safetensors -o templates.png
    """
    from neocog.jobs import templates as draw_templates

    drawn = draw_templates(network, out=out)
    say(f"{'figure':<8}{printable(str(drawn.figure))}")
    say(f"{'layer':<8}{printable(drawn.layer)}, {len(drawn.names):,} templates")
