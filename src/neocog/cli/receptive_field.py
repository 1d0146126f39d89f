"""`neocog receptive-field`: what the layers of a network see."""

from __future__ import annotations

import csv as csv_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neocog.cli._options import ImageSize, InputShape, Json, Network, parse_shape
from neocog.cli._output import Column, is_main_process, print_json, print_table, printable, say
from neocog.cli._progress import listening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neocog.analysis.receptive_field import ReceptiveField
    from neocog.jobs.seeing import Seeing


def receptive_field(
    network: Network,
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Measure this layer; the table lists the names.", show_default="all"),
    ] = None,
    on: Annotated[
        Path | None, typer.Option(metavar="PHOTO", help="Show it to the network, and draw the layer's field on it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Draw: growth with depth, or with --layer what it sees."),
    ] = None,
    level: Annotated[
        Literal["layer", "block", "stage"] | None,
        typer.Option(help="What a row is.", show_default="layer; block in the drawing"),
    ] = None,
    image_size: ImageSize = None,
    input_shape: InputShape = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="TAG|FILE", help="Trained weights of a network of the catalog.", show_default="fresh ones"
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV, with exact numbers.")] = False,
    as_json: Json = False,
) -> None:
    """Show which pixels each layer sees, and what one of them listens to.

    The receptive field is exact, through branches, dilation, pooling and residual sums; "global" means every pixel.
    What a layer listens to, its effective field, is measured by gradients, and is drawn beside its field.

    Examples:
      neocog receptive-field resnet18
      neocog receptive-field resnet18 -o growth.png
      neocog receptive-field mobilenetv2_100 --weights default --layer blocks.4 --on photo.jpg -o field.png
    """
    from neocog.jobs.seeing import receptive_field as look

    drawn = out or (Path("receptive-field.png") if on is not None else None)
    with listening() as listener:
        seeing = look(
            network,
            layer=layer,
            on=on,
            out=drawn,
            image=parse_shape(input_shape),
            size=image_size,
            weights=weights,
            level=level,
            listener=listener,
        )
    if as_json:
        print_json(seeing.to_dict())
    elif csv:
        _print_csv(seeing)
    elif layer is None:
        _print_table(seeing)
    else:
        _print_layer(seeing)
    if seeing.figure is not None and not as_json and not csv:
        say(f"{'figure':<13}{printable(str(seeing.figure))}")


def _print_csv(seeing: Seeing) -> None:
    if not is_main_process():
        return
    from neocog.jobs.seeing import plain_row

    rows = [seeing.field] if seeing.field is not None else seeing.fields.rows
    writer = csv_module.writer(sys.stdout, lineterminator="\n")
    pairs = ("size", "stride", "padding", "centre", "smallest", "largest", "local")
    writer.writerow(["name", "kind", "output", *(f"{name}_{axis}" for name in pairs for axis in ("rows", "columns"))])
    for row in rows:
        plain = plain_row(row)
        numbers = ["" if value is None else f"{value:g}" for name in pairs for value in plain[name]]
        unbounded = ["global" if value == "" and name == "size" else value for name, value in zip(
            (name for name in pairs for _ in plain[name]), numbers, strict=True)]  # fmt: skip
        writer.writerow([row.name, row.kind, "x".join(map(str, row.shape)), *unbounded])


def _print_table(seeing: Seeing) -> None:
    titles = ("output", "size", "stride", "padding", "centre", "paths")
    columns = [Column("name"), Column("type"), *(Column(title, numeric=True) for title in titles)]
    print_table(columns, [_cells(row) for row in seeing.fields.rows])
    say()
    image = "x".join(map(str, seeing.subject.image))
    lines = [
        ("network", f"{seeing.subject.name}, an image of {image}"),
        ("size", "pixels a side that can move the middle output; global: all of them, however large the image"),
        ("stride", "pixels from one output's field to the next's"),
        ("padding", "pixels by which the first output's field begins before the image"),
        ("centre", "of the first output's field; 0 is the middle of the first pixel"),
        ("paths", "size along the path that sees least, and along the one that sees most"),
    ]
    unknown = ", ".join(f"{name} in {path or 'the network itself'}" for name, path in seeing.fields.unknown)
    if unknown:
        lines.append(("not followed", f"{unknown}; layers behind these are left out"))
    for label, text in lines:
        say(f"{label:<13}{text}")


def _print_layer(seeing: Seeing) -> None:
    field, effective = seeing.field, seeing.effective
    assert field is not None
    assert effective is not None
    sees = f"{_size(field.size)} pixels a side"
    if field.is_global:
        sees = f"everything (global): {'x'.join(map(str, effective.heat.shape))}"
    place = ", ".join(str(index) for index in effective.position[1:])
    lines = [
        ("network", f"{seeing.subject.name}, an image of {'x'.join(map(str, seeing.subject.image))}"),
        ("layer", f"{field.name}, {field.kind}, output {'x'.join(map(str, field.shape[1:]))}"),
        ("can see", sees),
        ("paths", f"{_size(field.smallest)} to {_size(field.largest)}"),
        ("stride", _size(field.stride)),
        ("listens to", f"half of what moves output ({place}) lies within {effective.side50:g} pixels a side, "
                       f"95 % within {effective.side95:g}"),
        ("measured", f"by the gradient, averaged over {effective.images} images"),
    ]  # fmt: skip
    for label, text in lines:
        say(f"{label:<13}{text}")


def _cells(row: ReceptiveField) -> list[str]:
    least, most = _size(row.smallest), _size(row.largest)
    return [
        row.name,
        row.kind,
        "x".join(map(str, row.shape[1:])),
        _size(row.size),
        _size(row.stride),
        _size(row.padding) if not row.is_global else "",
        _size(row.centre) if not row.is_global else "",
        "" if least == most else f"{least} to {most}",
    ]


def _size(sides: Sequence[float]) -> str:
    """Return a number for each axis as one text: "7", "7x9", or "global"."""
    texts = ["global" if value == float("inf") else "-" if value != value else f"{value:g}" for value in sides]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)
