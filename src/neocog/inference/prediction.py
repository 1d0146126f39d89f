"""From image files to class names and scores."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from neocog._files import write_text
from neocog._machine import available_cores
from neocog.data.preprocess import open_image, preprocess
from neocog.errors import DataError
from neocog.inference.evaluation import PrecisionName, autocast
from neocog.inference.model_file import LoadedModel
from neocog.inference.views import Showing, View, mean_of_posteriors, showings

LARGEST_POOL = 8  # threads that decode; one network on a CPU is not fed faster by more


@dataclass(frozen=True)
class Prediction:
    """What a network says about one image.

    Attributes:
        path: the image's file.
        classes: names with the highest scores, highest first; empty where the image could not be used.
        scores: their scores in [0, 1].
        error: why the image could not be used, or None.
    """

    path: str
    classes: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    error: str | None = None


def predict_images(
    model: LoadedModel,
    paths: Iterable[str | Path],
    *,
    top: int = 5,
    batch_size: int = 32,
    precision: PrecisionName = "fp32",
    views: View = "centre",
) -> Iterator[Prediction]:
    """Classify image files, and yield one `Prediction` for each, in order.

    A file that cannot be decoded gives a prediction with its `error`, and the others go on. While the network
    works on one batch, threads decode the next.

    Args:
        model: a network with its classes and preprocessing.
        paths: the files.
        top: how many classes to name for each.
        batch_size: images that go through the network at once.
        precision: "bf16" and "fp16" run the forward pass under autocast.
        views: of each image, averaged; see `neocog.inference.views.showings`.

    Raises:
        UsageError: views that the model's preprocessing does not allow.
    """
    ways = showings(model.card.preprocessing, views)
    remaining = iter(paths)
    threads = min(LARGEST_POOL, batch_size, available_cores())
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        ahead: deque[list[tuple[str, Future[list[Tensor] | DataError]]]] = deque()
        try:
            while True:
                while len(ahead) < 2:
                    batch = [(str(path), pool.submit(_decode, ways, path)) for path in islice(remaining, batch_size)]
                    ahead.append(batch)
                if not ahead[0]:
                    return
                decoded = [(path, job.result()) for path, job in ahead.popleft()]
                yield from _classify(model, ways, decoded, top, precision)
        finally:
            for _, job in (item for batch in ahead for item in batch):
                job.cancel()


def _decode(ways: Sequence[Showing], path: str | Path) -> list[Tensor] | DataError:
    """Return the image as it is for each showing."""
    try:
        image = open_image(Path(path), ways[0].preprocessing.channels)
        return [preprocess(image, way.preprocessing) for way in ways]
    except DataError as error:
        return error


def _mean_logits(
    model: LoadedModel, ways: Sequence[Showing], images: Sequence[Sequence[Tensor]], precision: PrecisionName
) -> Tensor:
    """Return the logits of the mean posterior over all views of images that were prepared for each showing."""

    def each_view() -> Iterator[Tensor]:
        for way, prepared in zip(ways, zip(*images, strict=True), strict=True):
            for parts in way.cut(torch.stack(prepared).to(model.device), model.card.preprocessing.size):
                with autocast(model.device, precision):
                    given = list(map(model.network, parts))
                yield torch.cat(given).float()

    with torch.inference_mode():
        weights = [weight for way in ways for weight in way.weights]
        return mean_of_posteriors(each_view(), model.card.multi_label, weights)


def _classify(
    model: LoadedModel,
    ways: Sequence[Showing],
    decoded: Sequence[tuple[str, list[Tensor] | DataError]],
    top: int,
    precision: PrecisionName,
) -> list[Prediction]:
    images = [image for _, image in decoded if not isinstance(image, DataError)]
    ranked: Iterator[tuple[list[float], list[int]]] = iter(())
    if images:
        logits = _mean_logits(model, ways, images, precision)
        best = model.probabilities(logits).cpu().topk(min(top, len(model.card.classes)), dim=1)
        ranked = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    predictions = []
    for path, image in decoded:
        if isinstance(image, DataError):
            predictions.append(Prediction(path, error=str(image)))
        else:
            scores, places = next(ranked)
            names = tuple(model.card.classes[place] for place in places)
            predictions.append(Prediction(path, names, tuple(scores)))
    return predictions


def table(predictions: Sequence[Prediction]) -> list[list[str]]:
    """Return predictions as rows of text below a header: path, class_1, score_1, class_2, ..., error.

    A row has as many classes as the longest; the cells of an image that could not be used are empty but for
    its error.
    """
    most = max((len(prediction.classes) for prediction in predictions), default=0)
    header = ["path"] + [f"{what}_{rank}" for rank in range(1, most + 1) for what in ("class", "score")] + ["error"]
    rows = [header]
    for prediction in predictions:
        cells = [
            cell
            for name, score in zip(prediction.classes, prediction.scores, strict=True)
            for cell in (name, f"{score:.6f}")
        ]
        cells += [""] * (2 * most - len(cells))
        rows.append([prediction.path, *cells, prediction.error or ""])
    return rows


def write_predictions_csv(predictions: Sequence[Prediction], path: str | Path) -> None:
    """Write `table` to `path` as CSV, one row for each image; raises `StorageError`."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table(predictions))
    write_text(path, text.getvalue())


def predictions_to_dicts(predictions: Sequence[Prediction]) -> list[dict[str, object]]:
    """Return predictions ready for JSON: `path`, `predictions` of `class` and `score`, and `error`."""
    return [
        {
            "path": prediction.path,
            "predictions": [
                {"class": name, "score": score}
                for name, score in zip(prediction.classes, prediction.scores, strict=True)
            ],
            "error": prediction.error,
        }
        for prediction in predictions
    ]
