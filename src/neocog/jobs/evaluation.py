"""Evaluate: a model file, or several, and labelled images in, a measured report out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neocog.data.loading import EvaluationBatches, evaluation_batches
from neocog.data.preprocess import Preprocessing
from neocog.data.rows import listed
from neocog.data.sources import load_split
from neocog.data.table import Split
from neocog.errors import WeightsError
from neocog.inference.ensemble import Mean, combine
from neocog.inference.evaluation import Outputs, PrecisionName, check_views, evaluate_views
from neocog.inference.imagenet import RealAccuracy, class_columns, match_split, measure_real, real_labels
from neocog.inference.metrics import ClassificationReport, measure
from neocog.inference.model_file import LoadedModel
from neocog.inference.views import View
from neocog.jobs._device import choose_device
from neocog.jobs.listener import Listener
from neocog.jobs.prediction import open_model


@dataclass(frozen=True)
class Member:
    """One network of an ensemble.

    Attributes:
        model: the model with its card.
        report: its own figures on the same images, in the order of its own classes.
    """

    model: LoadedModel
    report: ClassificationReport


@dataclass(frozen=True)
class Evaluation:
    """A model, or several as one, measured on labelled images.

    Attributes:
        model: the model with its card; the first of several.
        split: the images; `split.source(i)` names the i-th.
        report: the figures; those of the ensemble where there are several models.
        outputs: logits, targets and indices, in order.
        views: what was shown of each image.
        members: where there are several models, each with its own figures; else none.
        real: accuracy by a file of labels of which several may be right, where one was given.
    """

    model: LoadedModel
    split: Split
    report: ClassificationReport
    outputs: Outputs
    views: View = "centre"
    members: tuple[Member, ...] = ()
    real: RealAccuracy | None = None


def evaluate(
    model: str | Path,
    source: str | Path,
    *,
    others: Sequence[str | Path] = (),
    mean: Mean = "logits",
    views: View = "centre",
    labels: str | Path | None = None,
    split: str = "auto",
    data_dir: str | Path | None = None,
    batch_size: int = 64,
    workers: int = 0,
    device: str | None = None,
    precision: PrecisionName = "fp32",
    listener: Listener | None = None,
) -> Evaluation:
    """Measure `model` on labelled images, prepared as the model file says.

    For a model of ImageNet's 1,000 classes the images' classes may also be called by WordNet id, as in the folders of
    the challenge, or by the numbers 0 to 999, as in ImageNet-V2 (Recht et al. 2019).

    Args:
        model: a model file, or the name of a network whose published weights are at hand.
        source: what holds the images; see `neocog.data.sources.load_split`.
        others: further models of the same classes; then the ensemble of all is measured, and each by itself. Each
            sees the images as its own file says.
        mean: of an ensemble's "logits" or "probabilities".
        views: of each image, averaged: "centre", "flip", "flip_shift", "ten_crop" or "multi_scale"; see
            `neocog.inference.views.showings`.
        labels: real.json of "Are we done with ImageNet?" (Beyer et al. 2020), to measure by as well.
        split: "auto" takes the test split, else validation, else a flat folder of classes.
        data_dir: where local copies of a named data set lie.
        batch_size: images at a time.
        workers: processes that decode photographs.
        device: "cpu", "cuda" or "cuda:N"; None takes a GPU where there is one.
        precision: of the forward pass.
        listener: who hears the progress.

    Raises:
        WeightsError: a model file cannot be used, or the models' classes differ; the message lists both.
        DataError: the images cannot, or their classes are not the model's; the message lists both.
        UsageError: views that a model does not allow, or labels for a model of other classes.
    """
    listener = listener or Listener()
    place = choose_device(device)
    models = [open_model(each, place) for each in (model, *others)]
    columns = [_columns(models[0], each) for each in models]
    for each in models:
        check_views(each.network, each.card.preprocessing, views)  # of all, before an hour's work on the first
    card = models[0].card
    loaded = load_split(source, split=split, data_dir=None if data_dir is None else Path(data_dir))
    splits = [match_split(loaded, each.card.classes) for each in models]
    images = splits[0]
    right = None if labels is None else real_labels(images, labels)

    found = []
    for each, own in zip(models, splits, strict=True):
        batches = _Batches(own, batch_size, workers, place)
        listener.begin(f"evaluating {own.name}", len(own))
        found.append(
            evaluate_views(
                each.network,
                batches.prepared,
                each.card.preprocessing,
                views,
                classes=each.card.classes,
                multi_label=each.card.multi_label,
                precision=precision,
                progress=lambda done, of: listener.advance(len(images) * done // of),
            )
        )
        listener.end()
    report, outputs = found[0]
    if others:
        logits = combine(
            [each.logits[:, order] for (_, each), order in zip(found, columns, strict=True)], mean, card.multi_label
        )
        outputs = Outputs(logits, outputs.targets, outputs.indices)
        report = measure(logits, outputs.targets, card.classes, card.multi_label)
    return Evaluation(
        models[0],
        images,
        report,
        outputs,
        views,
        members=tuple(Member(each, its) for each, (its, _) in zip(models, found, strict=True)) if others else (),
        real=None if right is None else measure_real(outputs.logits, right, card.classes),
    )


@dataclass(frozen=True)
class _Batches:
    """Labelled images in order, to be prepared in whatever way the views ask for."""

    split: Split
    batch_size: int
    workers: int
    device: str

    def prepared(self, preprocessing: Preprocessing) -> EvaluationBatches:
        return evaluation_batches(
            self.split, preprocessing, batch_size=self.batch_size, workers=self.workers, device=self.device
        )


def _columns(first: LoadedModel, other: LoadedModel) -> list[int]:
    """Return where the first model's classes are among the other's logits."""
    mine, its = first.card, other.card
    found = class_columns(mine.classes, its.classes)
    if found is None or mine.multi_label != its.multi_label:
        raise WeightsError(
            f"{other.path}: its classes are not those of {first.path}, so the two make no ensemble; "
            f"{first.path}: {listed(mine.classes)}; {other.path}: {listed(its.classes)}"
        )
    return found
