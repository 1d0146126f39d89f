"""`neocog demo`: the whole job, told to someone who has never seen it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neocog.cli._options import Json
from neocog.cli._output import duration, percent, print_json, printable, say
from neocog.cli._progress import listening

if TYPE_CHECKING:
    from neocog.jobs import DemoResult


def demo(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the run.", show_default="a new one below runs/"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show it all in a minute: train on handwritten digits, measure, predict.

    Needs no download: the digits come with scikit-learn.

    Example:
      neocog demo
    """
    from neocog import jobs

    with listening() as listener:
        done = jobs.demo(out, listener=listener)
    if as_json:
        from neocog.cli.train import result_facts
        from neocog.inference.prediction import predictions_to_dicts

        print_json(
            {
                **result_facts(done.trained),
                "test": done.evaluation.report.to_dict(),
                "predictions": predictions_to_dicts(done.predictions),
                "samples": str(done.images),
                "figure": str(done.figure),
            }
        )
    else:
        print_demo(done)


def print_demo(done: DemoResult) -> None:
    """Print what was done, how well, where it is, and what to try next."""
    from neocog.cli._report import headline

    trained, report = done.trained, done.evaluation.report
    right = sum(answer.classes[:1] == (truth,) for answer, truth in zip(done.predictions, done.truths, strict=True))
    network = done.evaluation.model.network
    parameters = sum(parameter.numel() for parameter in network.parameters())
    name = done.evaluation.model.card.model
    say("What happened")
    say(f"  A small convolutional network ({name}, {parameters:,} parameters) learnt to read handwritten")
    say(f"  digits in {trained.epochs} passes over the training images, in {duration(trained.seconds)}.")
    say("  Then it was shown images that it had never seen and that had no part in choosing it:")
    say()
    say(f"  test accuracy   {headline(report)}")
    say(f"  a sample        {right} of {len(done.predictions)} sample images right, among them")
    for answer, truth in list(zip(done.predictions, done.truths, strict=True))[:3]:
        if answer.classes:
            says = f"it says {answer.classes[0]}, {percent(answer.scores[0], 1)} sure"
            say(f"                  {Path(answer.path).name}, which shows {truth}: {says}")
    say()
    say("What it left")
    labelled = [("model", trained.model), ("report", trained.report), ("sample images", done.images)]
    labelled += [("figure", path) for path in (*trained.figures, done.figure)]
    for label, path in labelled:
        say(f"  {label:<15} {printable(str(path))}")
    say()
    say("What to try next")
    model, images = shlex.quote(str(trained.model)), shlex.quote(str(done.images))
    say(f"  neocog predict {model} {images}")
    say(f"  neocog evaluate {model} digits")
    say("  neocog train ./photos        a folder of your own images, one subfolder for each class")
    say("  neocog models                the networks that you can train")
