"""`neocog predict`: images in, names and scores out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neocog.cli._errors import SKIPPED
from neocog.cli._options import BatchSize, Device, Json, ModelFile, Views
from neocog.cli._output import Column, percent, print_json, print_table, printable, say
from neocog.cli._progress import listening

if TYPE_CHECKING:
    from neocog.inference.prediction import Prediction


def predict(
    model: ModelFile,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Files, folders or globs; - reads names from standard input."),
    ],
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Names for each image.")] = 3,
    views: Views = "centre",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a row for each image as CSV.")] = None,
    batch_size: BatchSize = 32,
    device: Device = None,
    as_json: Json = False,
) -> int:
    """Say what images show, with scores.

    Prints a table, or where the output is piped tab-separated lines: path, name, score, name, score. A file
    that is no usable image is reported and skipped; the exit code is then 7.

    Examples:
      neocog predict runs/photos/model.safetensors ./unsorted --csv out.csv
      neocog predict mobilenetv2_100 photo.jpg --top 5
      find . -name '*.jpg' | neocog predict runs/photos/model.safetensors - --json
    """
    from neocog import jobs

    with listening() as listener:
        found = jobs.predict(
            model, inputs, top=top, views=views, batch_size=batch_size, device=device, listener=listener
        )
    if as_json:
        from neocog.inference.prediction import predictions_to_dicts

        print_json(predictions_to_dicts(found))
    else:
        print_predictions([prediction for prediction in found if prediction.error is None])
    skipped = [prediction for prediction in found if prediction.error is not None]
    for prediction in skipped:
        print(f"neocog: skipped: {printable(prediction.error or '')}", file=sys.stderr)
    if skipped:
        print(f"neocog: {len(skipped):,} of {len(found):,} images were skipped", file=sys.stderr)
    if csv is not None:  # last, so that a disk which is full does not cost the person the answers
        from neocog.inference.prediction import write_predictions_csv

        write_predictions_csv(found, csv)
    return SKIPPED if skipped else 0


def print_predictions(predictions: Sequence[Prediction]) -> None:
    """Print a table on a terminal, tab-separated lines elsewhere."""
    if not predictions:
        return
    if not sys.stdout.isatty():
        for each in predictions:
            pairs = zip(each.classes, each.scores, strict=True)
            cells = [
                printable(each.path),
                *(text for name, score in pairs for text in (printable(name), f"{score:.4f}")),
            ]
            say("\t".join(cells))
        return
    columns = [Column("image")]
    for _ in range(max(len(each.classes) for each in predictions)):
        columns += [Column(""), Column("", numeric=True)]
    print_table(columns, [table_row(each, len(columns)) for each in predictions])


def table_row(prediction: Prediction, cells: int) -> list[str]:
    """Return an image's line in the table, filled up to `cells`."""
    pairs = zip(prediction.classes, prediction.scores, strict=True)
    row = [prediction.path, *(text for name, score in pairs for text in (name, percent(score, 1)))]
    return row + [""] * (cells - len(row))
