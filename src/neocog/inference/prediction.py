"""From image files to class names and scores."""

from __future__ import annotations

import csv
import io
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from neocog._files import write_text
from neocog.data.preprocess import open_image
from neocog.errors import DataError
from neocog.inference.evaluation import PrecisionName, autocast
from neocog.inference.model_file import LoadedModel

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
    """
    remaining = iter(paths)
    threads = min(LARGEST_POOL, batch_size, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        ahead: deque[list[tuple[str, Future[Tensor | DataError]]]] = deque()
        try:
            while True:
                while len(ahead) < 2:
                    batch = [(str(path), pool.submit(_decode, model, path)) for path in islice(remaining, batch_size)]
                    ahead.append(batch)
                if not ahead[0]:
                    return
                yield from _classify(model, [(path, job.result()) for path, job in ahead.popleft()], top, precision)
        finally:
            for _, job in (item for batch in ahead for item in batch):
                job.cancel()


def _decode(model: LoadedModel, path: str | Path) -> Tensor | DataError:
    try:
        return model.preprocess(open_image(Path(path), model.card.preprocessing.channels))
    except DataError as error:
        return error


def _classify(
    model: LoadedModel, decoded: Sequence[tuple[str, Tensor | DataError]], top: int, precision: PrecisionName
) -> list[Prediction]:
    images = [image for _, image in decoded if isinstance(image, Tensor)]
    ranked: Iterator[tuple[list[float], list[int]]] = iter(())
    if images:
        with torch.inference_mode(), autocast(model.device, precision):
            logits = model.network(torch.stack(images).to(model.device))
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
