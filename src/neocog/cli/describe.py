"""`neocog describe`: what a network costs, layer by layer."""

from __future__ import annotations

import csv as csv_module
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neocog.cli._options import ImageSize, InputShape, Json, Network, parse_shape
from neocog.cli._output import Column, byte_count, counted, is_main_process, print_json, print_table, say

if TYPE_CHECKING:
    from neocog.jobs.description import Description


def describe(
    network: Network,
    level: Annotated[Literal["layer", "block", "stage"], typer.Option(help="What a row is.")] = "layer",
    image_size: ImageSize = None,
    input_shape: InputShape = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images at once.")] = 1,
    dtype: Annotated[
        Literal["fp32", "bf16", "fp16", "fp64"], typer.Option(help="Of weights and activations.")
    ] = "fp32",
    training: Annotated[
        bool, typer.Option("--training", help="Count a training step: the backward pass, and what is kept for it.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV, with exact numbers.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a network costs: shapes, parameters, MACs, FLOPs and memory.

    A MAC is a multiplication and an addition in a product (convolution, matrix product, attention), a FLOP any one
    floating-point operation. Nothing is computed and no weights are read. Also takes a network of your own.

    Examples:
      neocog describe resnet50 --level stage
      neocog describe resnet50 --level block --image-size 160 --batch 32 --training --csv
      neocog describe my_package.nets:MyNet --input 3,64,64
    """
    from neocog.jobs.description import describe as describe_network

    description = describe_network(
        network,
        level=level,
        image=parse_shape(input_shape),
        size=image_size,
        batch=batch,
        dtype=dtype,
        training=training,
    )
    if as_json:
        print_json(description.to_dict())
    elif csv:
        _print_csv(description)
    else:
        _print_description(description)


def _print_csv(description: Description) -> None:
    if not is_main_process():
        return
    rows = description.rows()
    writer = csv_module.DictWriter(sys.stdout, list(rows[0]) if rows else ["name"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "output": "x".join(map(str, row["output"]))} for row in rows)


def _print_description(description: Description) -> None:
    cost = description.cost
    training = cost.trace.training
    columns = [Column("name"), Column("type"), Column("output", numeric=True), Column("parameters", numeric=True)]
    columns += [Column(title, numeric=True) for title in ("MACs", "FLOPs", "activations")]
    columns += [Column(title, numeric=True) for title in ("backward MACs", "kept")] if training else []
    image = "x".join(map(str, description.subject.image))
    rows = [["input", "", image, "", "", "", byte_count(cost.input_bytes), *["", ""] * training]]
    for row in cost.rows:
        cells = [row.name, row.kind, "x".join(map(str, row.shape[1:])), f"{row.parameters:,}" if row.parameters else ""]
        cells += [counted(count) if count else "" for count in (row.macs, row.flops)]
        cells.append(byte_count(row.activation_bytes) if row.activation_bytes else "")
        if training:
            cells.append(counted(row.backward_macs) if row.backward_macs else "")
            cells.append(byte_count(row.kept_bytes) if row.kept_bytes else "")
        rows.append(cells)
    print_table(columns, rows)
    say()
    for label, text in _totals(description):
        say(f"{label:<13}{text}")


def _totals(description: Description) -> list[tuple[str, str]]:
    """Return the lines under the table."""
    cost, subject = description.cost, description.subject
    each = f"a batch of {description.batch}" if description.batch > 1 else "an image"
    lines = [("network", f"{subject.name}, {each} of {'x'.join(map(str, subject.image))}, {description.dtype}")]
    if subject.entry is not None:
        lines.append(("paper", f"{subject.entry.paper}, {subject.entry.year}, {subject.entry.url}"))
        for figure in subject.entry.published:
            note = f"; {figure.note}" if figure.note else ""
            lines.append(("published", f"{figure.quantity} {figure.value:,.12g} ({figure.source}{note})"))
    idle = f", {cost.idle_parameters:,} of them in layers that did not run" if cost.idle_parameters else ""
    lines += [
        ("parameters", f"{cost.parameters:,}{idle}; {byte_count(cost.weight_bytes)} with buffers"),
        ("MACs", f"{cost.macs:,} multiply-adds in convolutions, matrix products and attention; biases not counted"),
        ("FLOPs", f"{cost.flops:,}: two a MAC, and all operations outside of products"),
    ]
    held = f"{byte_count(cost.activation_bytes)} with the images, if nothing is freed"
    if not cost.trace.training:
        held += f"; at most {byte_count(cost.peak_bytes)} at once in inference"
    lines.append(("activations", held))
    if cost.trace.training:
        share = cost.kept_bytes / description.batch
        lines.append(("backward", f"{cost.backward_macs:,} MACs: by weights and by inputs, but not by the images"))
        kept = f"{byte_count(cost.kept_bytes)} kept for the backward pass ({byte_count(share)} an image)"
        lines.append(("training", f"{kept}, beside weights and gradients of {byte_count(cost.weight_bytes)} each"))
    uncounted = ", ".join(f"{name} ({times} times)" for name, times in cost.uncounted.items())
    lines.append(("not counted", uncounted or "nothing; every operation has a rule"))
    if cost.trace.fallback:
        lines.append(("note", f"run on the CPU, since it cannot run on shapes alone: {cost.trace.fallback}"))
    return lines
