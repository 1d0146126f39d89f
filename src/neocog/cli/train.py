"""`neocog train`: a new run, or one that goes on."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neocog.cli._options import (
    SOURCE_HELP,
    DataDir,
    Device,
    Json,
    ModelName,
    RecipeName,
    Settings,
    WeightsName,
    parse_settings,
)
from neocog.cli._output import duration, print_json, printable, say
from neocog.cli._progress import listening
from neocog.errors import UsageError

if TYPE_CHECKING:
    from neocog.jobs import TrainResult


def train(
    source: Annotated[str | None, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)] = None,
    model: ModelName = None,
    recipe: RecipeName = None,
    weights: WeightsName = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Images in a step.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="RATE", help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of everything random.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the run.", show_default="a new one below runs/"),
    ] = None,
    data_dir: DataDir = None,
    device: Device = None,
    settings: Settings = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with the run in this directory; takes nothing else."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a classifier on labelled images.

    SOURCE is a folder with one subfolder for each class (or with train, val and test folders of those), a
    parquet file, a metadata.csv, webdataset shards, or the name of a data set. The run's directory keeps the
    recipe, the metrics, checkpoints, figures, a report and model.safetensors, which holds everything
    that evaluate and predict need. Ctrl-C writes a checkpoint and says how to go on.

    Examples:
      neocog train ./photos
      neocog train ./photos --model resnet18 --epochs 30 --out runs/photos
      neocog train cifar10 --model resnet20 --recipe resnet_2015_cifar
      neocog train ./photos --set augment.flip=0 --set loss.balance=true
      neocog train --resume runs/photos
    """
    shortcuts = {"epochs": epochs, "batch_size": batch_size, "optimizer.lr": lr, "seed": seed}
    overrides = {name: value for name, value in shortcuts.items() if value is not None}
    overrides |= parse_settings(settings or ())
    if resume is not None:
        given = {
            "SOURCE": source, "--model": model, "--recipe": recipe, "--weights": weights, "--epochs": epochs,
            "--batch-size": batch_size, "--lr": lr, "--seed": seed, "--out": out, "--data-dir": data_dir,
            "--device": device, "--set": settings or None,
        }  # fmt: skip
        refuse_beside_resume([name for name, value in given.items() if value is not None])
    elif source is None:
        raise UsageError(
            "give SOURCE, a folder of images or the name of a data set, or --resume RUN; see `neocog train --help`"
        )

    from neocog import jobs

    with listening() as listener:
        if resume is not None:
            result = jobs.resume(resume, listener=listener)
        else:
            assert source is not None
            result = jobs.train(
                source,
                model=model,
                recipe=recipe or "quick",
                weights=weights,
                overrides=overrides,
                out=out,
                data_dir=data_dir,
                device=device,
                command=shlex.join(["neocog", *sys.argv[1:]]),
                listener=listener,
            )
    if as_json:
        print_json(result_facts(result))
    else:
        print_result(result)


def refuse_beside_resume(given: list[str]) -> None:
    """Raise `UsageError` where anything was given beside `--resume`."""
    if given:
        raise UsageError(
            "--resume goes on exactly as the run began and takes nothing else; "
            f"leave out {', '.join(given)}, or start a new run"
        )


def print_result(result: TrainResult) -> None:
    """Print what came of a run, and what to do with it."""
    from neocog.cli._report import headline

    for stage in result.stages:
        say(f"stage       {printable(str(stage))}")
    say(
        f"trained     {result.epochs} epoch{'' if result.epochs == 1 else 's'} in {duration(result.seconds)}, "
        f"{100 * result.waiting:.1f} % of it waiting for data"
    )
    if result.validation is not None:
        say(f"validation  {headline(result.validation)}")
    if result.test is not None:
        say(f"test        {headline(result.test)}")
    if result.validation is None and result.test is None:
        say(f"training    {headline(result.measured)}")
    say()
    for label, path in (
        ("model", result.model),
        ("report", result.report),
        *(("figure", path) for path in result.figures),
    ):
        say(f"{label:<11} {printable(str(path))}")
    say()
    say(f"use it      {printable(shlex.join(['neocog', 'predict', str(result.model)]))} PHOTO...")


def result_facts(result: TrainResult) -> dict[str, Any]:
    """Return what came of a run, in plain types."""
    return {
        "run": str(result.run),
        "model": str(result.model),
        "report": str(result.report),
        "figures": [str(path) for path in result.figures],
        "epochs": result.epochs,
        "seconds": result.seconds,
        "waiting": result.waiting,
        "stages": [str(path) for path in result.stages],
        "validation": None if result.validation is None else result.validation.to_dict(),
        "test": None if result.test is None else result.test.to_dict(),
    }
