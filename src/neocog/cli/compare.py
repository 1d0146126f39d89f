"""`neocog compare`: accuracy against cost, as a chart and a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neocog.cli._options import Device, Json, complete_model
from neocog.cli._output import Column, counted, print_csv, print_json, print_table, printable, say
from neocog.cli._progress import listening

if TYPE_CHECKING:
    from neocog.jobs.comparison import Comparison

SortKey = Literal["name", "year", "parameters", "macs", "throughput", "accuracy"]


def compare(
    patterns: Annotated[
        list[str],
        typer.Argument(
            metavar="PATTERN",
            help="Names, with * and ? as in a shell; model files; module:callable for networks of your own.",
            autocompletion=complete_model,
        ),
    ],
    x: Annotated[
        Literal["macs", "parameters", "throughput", "year"],
        typer.Option("--x", help="What lies across; throughput is measured on this machine."),
    ] = "macs",
    y: Annotated[Literal["top1", "top5"], typer.Option("--y", help="Which accuracy lies upwards.")] = "top1",
    sort: Annotated[SortKey | None, typer.Option(help="Order of the table.", show_default="that of --x")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Only accuracies of trained weights.")] = False,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Only of weights with such a tag; * and ? may stand. Repeatable."),
    ] = None,
    all_weights: Annotated[
        bool, typer.Option("--all-weights", help="Each of a network's weights, and not only its best accuracy.")
    ] = False,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Height and width of the images; draws only accuracies of this size.",
            show_default="that of each accuracy",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images at once, for throughput.")] = 8,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of numbers, for throughput.")] = "fp32",
    layout: Annotated[Literal["NCHW", "NHWC"], typer.Option(help="How images lie in memory, for throughput.")] = "NCHW",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the networks, for throughput.")] = False,
    device: Device = None,
    seconds: Annotated[
        float, typer.Option(min=0, metavar="S", help="To spend on the throughput of each network.")
    ] = 2.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Page to write (.html, with a .png beside it), or a picture."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV, with exact numbers.")] = False,
    as_json: Json = False,
) -> None:
    """Compare published accuracy with what networks cost.

    A network stands with the best accuracy published for one pass over each image, and with the MACs of the image
    size that it was tested at. Marked is the Pareto front: what no other beats at both. Networks without a
    published accuracy are in the table and not on the chart.

    Examples:
      neocog compare 'resnet*' 'mobilenet*' -o compare.html
      neocog compare 'resnet*' --x throughput --batch 1 -o speed.png
      neocog compare resnet50 --all-weights --image-size 224 --csv
    """
    from neocog.analysis.throughput import Setting
    from neocog.jobs._device import choose_device
    from neocog.jobs.comparison import compare as compare_networks

    setting = Setting(batch=batch, precision=precision, layout=layout, compiled=compiled, device=choose_device(device))
    with listening() as listener:
        found = compare_networks(
            patterns,
            x=x,
            y=y,
            sort=sort,
            weights=weights,
            tags=tags or (),
            all_weights=all_weights,
            size=image_size,
            setting=setting,
            seconds=seconds,
            out=out,
            listener=listener,
        )
    if as_json:
        print_json(found.to_dict())
    elif csv:
        print_csv(found.to_dict()["rows"])
    else:
        _print_table(found)


def _print_table(found: Comparison) -> None:
    measured = found.x == "throughput"
    columns = [
        Column("network"),
        Column({"top1": "top-1", "top5": "top-5"}[found.y], numeric=True),
        Column("front"),
        Column("image", numeric=True),
        Column("MACs", numeric=True),
        Column("parameters", numeric=True),
        *[Column("images/s", numeric=True)] * measured,
        Column("year", numeric=True),
        Column("accuracy from"),
    ]
    rows = []
    for row in found.rows:
        rate = row.images_per_second
        rows.append(
            [
                row.label,
                "-" if row.accuracy is None else f"{row.accuracy:.1f}",
                "*" if row.on_front else "",
                "x".join(map(str, row.image)),
                counted(row.macs),
                counted(row.parameters),
                *["-" if rate is None else f"{rate:.4g}"] * measured,
                str(row.year or ""),
                row.origin,
            ]
        )
    print_table(columns, rows)
    say()
    front = ", ".join(row.label for row in found.front)
    say(f"front     {printable(front) or 'empty: no accuracy is known'}")
    if found.not_drawn:
        say(f"not drawn {printable(', '.join(row.label for row in found.not_drawn))}")
    if found.conditions:
        say(f"measured  {found.conditions}")
    uncounted = sorted({name for row in found.rows for name in row.uncounted})
    if uncounted:
        say(f"no rule   {', '.join(uncounted)}: their MACs are missing")
    for file in found.files:
        say(f"{'page' if file.suffix == '.html' else 'picture':<10}{printable(str(file))}")
