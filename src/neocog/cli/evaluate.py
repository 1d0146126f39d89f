"""`neocog evaluate`: a model file measured on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neocog.cli._options import BatchSize, DataDir, Device, Json, ModelFile, Source
from neocog.cli._output import print_json, printable, say
from neocog.cli._progress import listening

if TYPE_CHECKING:
    from neocog.jobs import Evaluation


def evaluate(
    model: ModelFile,
    source: Source,
    split: Annotated[
        str,
        typer.Option(
            metavar="SPLIT",
            help="train, validation or test.",
            show_default="test, else validation, else all images",
        ),
    ] = "auto",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the classes' table as CSV.")] = None,
    batch_size: BatchSize = 64,
    data_dir: DataDir = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure a model on labelled images.

    Images are prepared as the model file says, and their classes must be the model's.

    Examples:
      neocog evaluate runs/photos/model.safetensors ./holiday
      neocog evaluate runs/photos/model.safetensors ./holiday --json > holiday.json
    """
    from neocog import jobs

    with listening() as listener:
        measured = jobs.evaluate(
            model,
            source,
            split=split,
            data_dir=data_dir,
            batch_size=batch_size,
            device=device,
            listener=listener,
        )
        for warning in measured.split.warnings:
            listener.notice(warning)
    if as_json:
        print_json({"model": model, "data": measured.split.name, **measured.report.to_dict()})
    else:
        print_evaluation(model, measured)
    if csv is not None:  # last, so that a disk which is full does not cost the person the figures
        measured.report.write_csv(csv)


def print_evaluation(model: str, measured: Evaluation) -> None:
    """Print what was measured of what, then the report."""
    from neocog.cli._report import print_report

    say(f"{'model':<18} {printable(model)} ({measured.model.card.model})")
    say(f"{'data':<18} {printable(measured.split.name)}")
    print_report(measured.report)
