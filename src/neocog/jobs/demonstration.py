"""The demonstration: the whole job on images that come with scikit-learn, in about a minute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neocog.data.sources import load_data
from neocog.inference.prediction import Prediction
from neocog.jobs.evaluation import Evaluation, evaluate
from neocog.jobs.listener import Listener
from neocog.jobs.prediction import predict
from neocog.jobs.training import TrainResult, train
from neocog.visualize.images import predictions as draw_predictions

SAMPLES = 12


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration did and where it is.

    Attributes:
        trained: the training run.
        evaluation: its model file, measured again on the test images as a user would.
        predictions: its answers for the sample images.
        truths: what those images show.
        images: where the sample images lie.
        figure: the sample images with their answers.
    """

    trained: TrainResult
    evaluation: Evaluation
    predictions: list[Prediction]
    truths: tuple[str, ...]
    images: Path
    figure: Path


def demo(out: str | Path | None = None, *, listener: Listener | None = None) -> DemoResult:
    """Train LeNet-5 on the 1,797 scanned digits of scikit-learn, then evaluate, predict and draw with its model file.

    Args:
        out: the run directory; None makes a new one below `runs/`.
        listener: who hears the progress.
    """
    trained = train("digits", model="lenet5", out=out, command="neocog demo", listener=listener)
    evaluation = evaluate(trained.model, "digits", listener=listener)
    test = load_data("digits").test
    assert test is not None  # the digits come with a test split
    images = trained.run / "samples"
    images.mkdir(exist_ok=True)
    step = len(test) // SAMPLES
    chosen = [number * step for number in range(SAMPLES)]
    pictures, truths = [], []
    for index in chosen:
        pictures.append(test.image(index))
        truths.append(test.classes[int(test.targets()[index])])
        pictures[-1].save(images / f"digit-{index:03d}.png")
    answers = predict(trained.model, [images], top=3, listener=listener)
    items = [
        (picture, truth, answer.classes[0], answer.scores[0])
        for picture, truth, answer in zip(pictures, truths, answers, strict=True)
    ]
    figure = draw_predictions(items, trained.run / "figures" / "samples.png")
    return DemoResult(trained, evaluation, answers, tuple(truths), images, figure)
