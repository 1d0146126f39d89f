"""What is measured of a classifier on labelled images.

All shares are in [0, 1]. What is not defined, such as the recall of a class without images, is None and is
left out of the averages.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from neocog._files import write_json, write_text
from neocog.errors import DataError, UsageError

CALIBRATION_BINS = 15
LARGEST_CONFUSION = 1000  # classes; a larger table is no longer read, and its size grows with the square


@dataclass(frozen=True)
class ClassScores:
    """One class's line in a report.

    Attributes:
        name: the class.
        images: images that have it.
        precision: share of the images given this class that have it; 0 where none was given it.
        recall: share of the images of this class that were given it.
        f1: harmonic mean of precision and recall.
        average_precision: area under precision over recall; only where images may have several classes.
    """

    name: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None = None


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """What was measured on one set of images.

    Where an image may have several classes, a class is given at a score of 0.5 or more, and top-1, top-5, the
    interval, the calibration error and the confusion are None; elsewhere `mean_average_precision` is.

    Attributes:
        images: how many were measured.
        top1: share whose highest score is the right class.
        top5: share whose five highest scores include it; None for five classes or fewer.
        interval95: bounds of top-1's 95 % interval (Wilson 1927).
        loss: mean cross entropy, in nats; for several labels the mean binary cross entropy of all decisions.
        calibration_error: expected calibration error over 15 bins of equal width (Guo et al. 2017, equation
            3).
        macro_precision: mean over the classes that have images.
        macro_recall: the same of recall; also called balanced accuracy.
        macro_f1: the same of F1.
        mean_average_precision: the same of average precision.
        per_class: a line for each class, in the order of the logits.
        confusion: `(K, K)` counts, rows the right class and columns the given one; None above 1,000 classes.
    """

    images: int
    top1: float | None
    top5: float | None
    interval95: tuple[float, float] | None
    loss: float
    calibration_error: float | None
    macro_precision: float | None
    macro_recall: float | None
    macro_f1: float | None
    mean_average_precision: float | None
    per_class: tuple[ClassScores, ...]
    confusion: np.ndarray[Any, np.dtype[np.int64]] | None

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several classes."""
        return self.top1 is None

    @property
    def error(self) -> float | None:
        """Share whose highest score is a wrong class."""
        return None if self.top1 is None else 1 - self.top1

    @property
    def score(self) -> float:
        """The one number to compare networks by, more is better: top-1, or mean average precision."""
        chosen = self.mean_average_precision if self.top1 is None else self.top1
        return 0.0 if chosen is None else chosen

    def headline(self) -> dict[str, float]:
        """Return the report's numbers without its tables, leaving out what is not defined."""
        low, high = self.interval95 or (None, None)
        numbers = {
            "images": float(self.images),
            "top1": self.top1,
            "top1_low": low,
            "top1_high": high,
            "top5": self.top5,
            "error": self.error,
            "loss": self.loss,
            "calibration_error": self.calibration_error,
            "mean_average_precision": self.mean_average_precision,
            "macro_precision": self.macro_precision,
            "macro_recall": self.macro_recall,
            "macro_f1": self.macro_f1,
        }
        return {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain types, ready for JSON."""
        return {
            **self.headline(),
            "images": self.images,
            "per_class": [dict(zip(self._columns, self._cells(line), strict=True)) for line in self.per_class],
            "confusion": None if self.confusion is None else self.confusion.tolist(),
        }

    def write_json(self, path: str | Path) -> None:
        """Write `to_dict` to `path`; raises `StorageError`."""
        write_json(path, self.to_dict())

    def write_csv(self, path: str | Path) -> None:
        """Write one row for each class to `path`, cells empty where not defined; raises `StorageError`."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._columns)
        writer.writerows(self._cells(line) for line in self.per_class)
        write_text(path, text.getvalue())

    @property
    def _columns(self) -> list[str]:
        return ["class", "images", "precision", "recall", "f1"] + ["average_precision"] * self.multi_label

    def _cells(self, line: ClassScores) -> list[str | float | None]:
        cells: list[str | float | None] = [line.name, line.images, line.precision, line.recall, line.f1]
        return cells + [line.average_precision] * self.multi_label


def measure(logits: Tensor, targets: Tensor, classes: Sequence[str], multi_label: bool = False) -> ClassificationReport:
    """Measure logits `(N, K)` against the truth.

    Args:
        logits: what the network gave; a row with a NaN counts as wrong.
        targets: right classes `(N,)`, or with `multi_label` ones and zeros `(N, K)`.
        classes: names of the K classes.
        multi_label: whether an image may have several classes.

    Raises:
        DataError: there are no images.
        UsageError: the shapes do not belong together.
    """
    if len(logits) == 0:
        raise DataError("there are no images to measure")
    expected = (len(logits), len(classes)) if multi_label else (len(logits),)
    if logits.shape != (len(logits), len(classes)) or targets.shape != expected:
        raise UsageError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} do not belong to {len(classes)} classes"
        )
    logits, targets = logits.detach().cpu().float(), targets.detach().cpu()
    if multi_label:
        return _measure_several_labels(logits, targets, classes)
    return _measure_one_label(logits, targets.long(), classes)


def top1(logits: Tensor, targets: Tensor) -> float:
    """Return the share of rows of `logits` `(N, K)` whose highest is at the class in `targets` `(N,)`."""
    return (logits.argmax(dim=1) == targets).double().mean().item()


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `right` among `images` (Wilson 1927, page 209)."""
    z = 1.959963984540054  # the normal distribution's 97.5 % point
    share = right / images
    centre = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    reach = z / (1 + z**2 / images) * math.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def calibration_error(confidences: Tensor, correct: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error (Guo et al. 2017, equation 3).

    Args:
        confidences: `(N,)` scores in [0, 1] of the classes that were given.
        correct: `(N,)` whether they were right.
        bins: intervals of equal width, each open below and closed above.
    """
    confidences = confidences.double()
    place = (confidences * bins).ceil().clamp(1, bins).long() - 1
    surplus = torch.zeros(bins, dtype=torch.float64).index_add(0, place, confidences - correct.double())
    return surplus.abs().sum().item() / len(confidences)


def _measure_one_label(logits: Tensor, targets: Tensor, classes: Sequence[str]) -> ClassificationReport:
    count, broken = len(classes), logits.isnan().any(dim=1)
    highest, given = logits.max(dim=1)
    right = (given == targets) & ~broken
    # From the partition function alone, without a table of probabilities as large as the logits.
    partition = logits.logsumexp(dim=1)
    confidences = torch.where(broken, torch.zeros(()), (highest - partition).exp())
    losses = partition - logits.gather(1, targets[:, None]).squeeze(1)
    per_class, (precision, recall, f1) = _scores_per_class(
        classes,
        images=torch.bincount(targets, minlength=count),
        given=torch.bincount(given, minlength=count),
        right=torch.bincount(targets[right], minlength=count),
    )
    five = None
    if count > 5:
        among = (logits.topk(5, dim=1).indices == targets[:, None]).any(dim=1) & ~broken
        five = among.double().mean().item()
    confusion = None
    if count <= LARGEST_CONFUSION:
        confusion = torch.bincount(targets * count + given, minlength=count**2).reshape(count, count).numpy()
    return ClassificationReport(
        images=len(logits),
        top1=right.double().mean().item(),
        top5=five,
        interval95=wilson_interval(int(right.sum()), len(logits)),
        loss=losses.double().mean().item(),
        calibration_error=calibration_error(confidences, right),
        macro_precision=precision,
        macro_recall=recall,
        macro_f1=f1,
        mean_average_precision=None,
        per_class=per_class,
        confusion=confusion,
    )


def _measure_several_labels(logits: Tensor, targets: Tensor, classes: Sequence[str]) -> ClassificationReport:
    from sklearn.metrics import average_precision_score  # 1.8 s, and only these data need it

    has, given = targets > 0.5, logits >= 0
    ranked = logits.nan_to_num(nan=torch.finfo(torch.float32).min).numpy()
    average_precisions = [
        float(average_precision_score(has[:, k].numpy(), ranked[:, k])) if has[:, k].any() else None
        for k in range(len(classes))
    ]
    per_class, (precision, recall, f1) = _scores_per_class(
        classes,
        images=has.sum(dim=0),
        given=given.sum(dim=0),
        right=(has & given).sum(dim=0),
        average_precisions=average_precisions,
    )
    return ClassificationReport(
        images=len(logits),
        top1=None,
        top5=None,
        interval95=None,
        loss=F.binary_cross_entropy_with_logits(logits, has.float(), reduction="none").double().mean().item(),
        calibration_error=None,
        macro_precision=precision,
        macro_recall=recall,
        macro_f1=f1,
        mean_average_precision=_mean(average_precisions),
        per_class=per_class,
        confusion=None,
    )


def _scores_per_class(
    classes: Sequence[str],
    *,
    images: Tensor,
    given: Tensor,
    right: Tensor,
    average_precisions: Sequence[float | None] | None = None,
) -> tuple[tuple[ClassScores, ...], tuple[float | None, float | None, float | None]]:
    """Return the line of each class and the means of precision, recall and F1, from counts `(K,)`."""
    lines = []
    for k, name in enumerate(classes):
        has, named, hit = int(images[k]), int(given[k]), int(right[k])
        if has == 0:
            lines.append(ClassScores(name, 0, None, None, None))
            continue
        area = average_precisions[k] if average_precisions else None
        lines.append(ClassScores(name, has, hit / named if named else 0.0, hit / has, 2 * hit / (has + named), area))
    means = (
        _mean([x.precision for x in lines]),
        _mean([x.recall for x in lines]),
        _mean([x.f1 for x in lines]),
    )
    return tuple(lines), means


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
