"""`neocog evaluate`: model files measured on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neocog.cli._options import BatchSize, DataDir, Device, Json, Source, Views
from neocog.cli._output import Column, percent, print_json, print_table, printable, say
from neocog.cli._progress import listening
from neocog.errors import UsageError

if TYPE_CHECKING:
    from neocog.inference.imagenet import RealAccuracy
    from neocog.jobs import Evaluation


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Model file, or a network's name for its published weights; several make an ensemble.",
            default_factory=list,  # so that the line about a missing one can say what was meant
            show_default="at least one",
        ),
    ],
    source: Source,
    split: Annotated[
        str,
        typer.Option(
            metavar="SPLIT",
            help="train, validation or test.",
            show_default="test, else validation, else all images",
        ),
    ] = "auto",
    views: Views = "centre",
    mean: Annotated[
        Literal["logits", "probabilities"], typer.Option("--mean", help="What an ensemble averages.")
    ] = "logits",
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="real.json: print ReaL accuracy too, by ImageNet's reassessed labels."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the classes' table as CSV.")] = None,
    batch_size: BatchSize = 64,
    data_dir: DataDir = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure a model on labelled images, or several as an ensemble.

    Images are prepared as each model file says, and their classes must be the model's.

    Examples:
      neocog evaluate runs/photos/model.safetensors ./holiday
      neocog evaluate runs/photos/model.safetensors ./holiday --views ten_crop --json > holiday.json
      neocog evaluate runs/*/model.safetensors ./holiday
    """
    from neocog import jobs

    if not models:
        raise UsageError(
            f"evaluate takes a model and the images to measure it on: neocog evaluate MODEL SOURCE; {source} "
            "is only one of them"
        )

    with listening() as listener:
        measured = jobs.evaluate(
            models[0],
            source,
            others=models[1:],
            mean=mean,
            views=views,
            labels=labels,
            split=split,
            data_dir=data_dir,
            batch_size=batch_size,
            device=device,
            listener=listener,
        )
        for warning in measured.split.warnings:
            listener.notice(warning)
    if as_json:
        print_json(as_document(models, mean, measured))
    else:
        print_evaluation(models, mean, measured)
    if csv is not None:  # last, so that a disk which is full does not cost the person the figures
        measured.report.write_csv(csv)


def as_document(models: list[str], mean: str, measured: Evaluation) -> dict[str, object]:
    """Return what was measured, ready for JSON."""
    document: dict[str, object] = {"model": models[0], "data": measured.split.name, "views": measured.views}
    if measured.members:
        document["mean"] = mean
        document["members"] = [
            {"model": name, **member.report.headline()} for name, member in zip(models, measured.members, strict=True)
        ]
    if measured.real is not None:
        document["real"] = measured.real.to_dict()
    return {**document, **measured.report.to_dict()}


def print_evaluation(models: list[str], mean: str, measured: Evaluation) -> None:
    """Print what was measured of what, then each member of an ensemble, then the report."""
    from neocog.cli._report import print_report

    if measured.members:
        say(f"{'model':<18} mean of the {mean} of {len(measured.members)} models")
    else:
        say(f"{'model':<18} {printable(models[0])} ({measured.model.card.model})")
    say(f"{'data':<18} {printable(measured.split.name)}")
    if measured.views != "centre":
        say(f"{'views':<18} {measured.views}")
    if measured.members:
        say()
        print_members(models, measured)
        say()
    if measured.real is not None:
        print_real(measured.real)
    print_report(measured.report)


def print_members(models: list[str], measured: Evaluation) -> None:
    """Print a line for each member by itself, and one for all together."""
    several = measured.report.multi_label
    title = "mean avg precision" if several else "top-1"
    reports = [(name, member.report) for name, member in zip(models, measured.members, strict=True)]
    rows = [
        [name, percent(each.mean_average_precision if several else each.top1), f"{each.loss:.4f}"]
        for name, each in [*reports, ("together", measured.report)]
    ]
    print_table([Column("model"), Column(title, numeric=True), Column("loss", numeric=True)], rows)


def print_real(real: RealAccuracy) -> None:
    """Print accuracy by labels of which several may be right."""
    low, high = real.interval95
    interval = f"95 % interval {100 * low:.2f} to {percent(high)}"
    left_out = f"; {real.left_out:,} without a label left out" if real.left_out else ""
    say(f"{'ReaL top-1':<18} {percent(real.top1)}  ({interval}; {real.images:,} images{left_out})")
    say(f"{'ReaL top-5':<18} {percent(real.top5)}")
