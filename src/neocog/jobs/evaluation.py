"""Evaluate: a model file and labelled images in, a measured report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neocog.data.loading import evaluation_batches
from neocog.data.sources import load_split
from neocog.data.table import Split
from neocog.inference.evaluation import Outputs, PrecisionName, evaluate_network
from neocog.inference.metrics import ClassificationReport
from neocog.inference.model_file import LoadedModel
from neocog.jobs._device import choose_device
from neocog.jobs.listener import Listener
from neocog.jobs.prediction import open_model


@dataclass(frozen=True)
class Evaluation:
    """A model measured on labelled images.

    Attributes:
        model: the model with its card.
        split: the images; `split.source(i)` names the i-th.
        report: the figures.
        outputs: logits, targets and indices, in order.
    """

    model: LoadedModel
    split: Split
    report: ClassificationReport
    outputs: Outputs


def evaluate(
    model: str | Path,
    source: str | Path,
    *,
    split: str = "auto",
    data_dir: str | Path | None = None,
    batch_size: int = 64,
    workers: int = 0,
    device: str | None = None,
    precision: PrecisionName = "fp32",
    listener: Listener | None = None,
) -> Evaluation:
    """Measure `model` on labelled images, prepared as the model file says.

    Args:
        model: a model file, or the name of a network whose published weights are at hand.
        source: what holds the images; see `neocog.data.sources.load_split`.
        split: "auto" takes the test split, else validation, else a flat folder of classes.
        data_dir: where local copies of a named data set lie.
        batch_size: images at a time.
        workers: processes that decode photographs.
        device: "cpu", "cuda" or "cuda:N"; None takes a GPU where there is one.
        precision: of the forward pass.
        listener: who hears the progress.

    Raises:
        WeightsError: the model file cannot be used.
        DataError: the images cannot, or their classes are not the model's; the message lists both.
    """
    listener = listener or Listener()
    place = choose_device(device)
    loaded = open_model(model, place)
    card = loaded.card
    images = load_split(
        source, split=split, data_dir=None if data_dir is None else Path(data_dir), classes=card.classes
    )
    listener.begin(f"evaluating {images.name}", len(images))
    batches = evaluation_batches(images, card.preprocessing, batch_size=batch_size, workers=workers, device=place)
    report, outputs = evaluate_network(
        loaded.network,
        batches,
        classes=card.classes,
        multi_label=card.multi_label,
        precision=precision,
        progress=lambda done, of: listener.advance(len(images) * done // of),
    )
    listener.end()
    return Evaluation(loaded, images, report, outputs)
