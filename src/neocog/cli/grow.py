"""`neocog grow`: a deeper network begun with a trained one's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neocog.cli._options import complete_model
from neocog.cli._output import printable, say


def grow(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file of the trained, smaller network.")],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The deeper network, such as vgg16.", autocompletion=complete_model)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="File to write.", show_default="NAME-grown.safetensors beside MODEL"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the layers that begin anew.")] = 0,
) -> None:
    """Begin a deeper network with the layers of a trained one.

    So the VGG networks were trained: the first four convolutions and the fully-connected layers of a deeper one begin
    as those of the 11-layer one, and the others at random. The file that it writes is what to train from.

    Examples:
      neocog train ./photos --model vgg11 --out runs/vgg11
      neocog grow runs/vgg11/model.safetensors vgg16 -o vgg16.safetensors
      neocog train ./photos --model vgg16 --weights vgg16.safetensors
    """
    from neocog import jobs

    grown = jobs.grow(model, name, out=out, seed=seed)
    say(f"{'copied':<8}{', '.join(grown.layers)}")
    say(f"{'model':<8}{printable(str(grown.model))}")
