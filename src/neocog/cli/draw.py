"""`neocog draw`: a picture of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from neocog.cli._options import ImageSize, InputShape, Network, parse_shape
from neocog.cli._output import printable, say


def draw(
    network: Network,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.svg", help="File to write.", show_default="NETWORK.svg"),
    ] = None,
    level: Annotated[
        Literal["stage", "block"],
        typer.Option(help="Draw like blocks that follow each other as one, or each block."),
    ] = "stage",
    image_size: ImageSize = None,
    input_shape: InputShape = None,
) -> None:
    """Draw a network as SVG: stages and blocks as volumes, with shapes.

    Layers and blocks stand from left to right as boxes, whose height and depth follow the resolution and whose
    length follows the channels. Each kind of block is drawn once from the inside, with its branches, sums and gates.

    Examples:
      neocog draw resnet50
      neocog draw resnet152 --level block -o blocks.svg
      neocog draw torchvision.models:googlenet -o googlenet.svg
    """
    from neocog.jobs.drawing import draw as draw_network

    drawn = draw_network(network, out=out, level=level, image=parse_shape(input_shape), size=image_size)
    say(f"{'figure':<8}{printable(str(drawn.figure))}")
    if drawn.note:
        say(f"{'note':<8}run on the CPU, since it cannot run on shapes alone: {drawn.note}")
