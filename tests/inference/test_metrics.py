"""Metrics agree with scikit-learn and scipy, and with cases that can be counted by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from neocog.errors import DataError, UsageError
from neocog.inference.metrics import calibration_error, measure, top1, wilson_interval

NAMES = tuple(f"class {k}" for k in range(7))


@pytest.fixture
def case() -> tuple[Tensor, Tensor]:
    """Logits that are right more often than not, of 300 images and 7 classes."""
    generator = torch.Generator().manual_seed(3)
    targets = torch.randint(0, 7, (300,), generator=generator)
    logits = torch.randn(300, 7, generator=generator)
    logits[torch.arange(300), targets] += 1.5
    return logits, targets


@pytest.fixture
def several() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    targets = (torch.rand(200, 7, generator=generator) < 0.3).float()
    return torch.randn(200, 7, generator=generator) + 2 * targets - 1, targets


def test_top1_top5_loss_and_error_agree_with_scikit_learn(case: tuple[Tensor, Tensor]) -> None:
    logits, targets = case
    report = measure(logits, targets, NAMES)
    probabilities = logits.double().softmax(1).numpy()
    assert report.images == 300
    assert report.top1 == pytest.approx(sklearn_metrics.accuracy_score(targets, logits.argmax(1)), abs=1e-12)
    assert report.top5 == pytest.approx(sklearn_metrics.top_k_accuracy_score(targets, probabilities, k=5), abs=1e-12)
    assert report.loss == pytest.approx(sklearn_metrics.log_loss(targets, probabilities), rel=1e-6)
    assert report.error == pytest.approx(1 - top1(logits, targets), abs=1e-12)
    assert report.score == report.top1
    assert not report.multi_label


def test_scores_per_class_and_their_means_agree_with_scikit_learn(case: tuple[Tensor, Tensor]) -> None:
    logits, targets = case
    report = measure(logits, targets, NAMES)
    given = logits.argmax(1)
    expected = sklearn_metrics.precision_recall_fscore_support(targets, given, zero_division=0)
    for k, line in enumerate(report.per_class):
        found = (line.precision, line.recall, line.f1, line.images)
        assert found == pytest.approx(tuple(column[k] for column in expected), abs=1e-12)
        assert line.name == NAMES[k]
    means = sklearn_metrics.precision_recall_fscore_support(targets, given, average="macro")[:3]
    assert (report.macro_precision, report.macro_recall, report.macro_f1) == pytest.approx(means, abs=1e-12)
    assert report.macro_recall == pytest.approx(sklearn_metrics.balanced_accuracy_score(targets, given))
    assert np.array_equal(report.confusion, sklearn_metrics.confusion_matrix(targets, given))


def test_a_class_without_images_is_undefined_and_left_out_of_the_means() -> None:
    targets, given = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 2, 1, 1, 0])
    report = measure(torch.nn.functional.one_hot(given, 4).float(), targets, ("a", "b", "c", "d"))
    without = report.per_class[2]
    assert (without.images, without.precision, without.recall, without.f1) == (0, None, None, None)
    expected = sklearn_metrics.precision_recall_fscore_support(
        targets, given, labels=[0, 1], average="macro", zero_division=0
    )
    assert (report.macro_precision, report.macro_recall, report.macro_f1) == pytest.approx(expected[:3])
    assert report.confusion is not None
    assert report.confusion.tolist() == [[1, 0, 1, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_class_that_is_never_given_has_no_precision_to_its_credit() -> None:
    report = measure(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]), ("a", "b"))
    assert (report.per_class[1].precision, report.per_class[1].recall, report.per_class[1].f1) == (0, 0, 0)


def test_top5_is_not_reported_for_five_classes() -> None:
    report = measure(torch.randn(4, 5), torch.zeros(4, dtype=torch.long), NAMES[:5])
    assert report.top5 is None
    assert "top5" not in report.headline()


@pytest.mark.parametrize(("right", "images"), [(0, 1), (1, 1), (0, 40), (40, 40), (7, 9), (9731, 10_000)])
def test_the_interval_is_wilsons(right: int, images: int) -> None:
    expected = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_calibration_error_of_cases_counted_by_hand() -> None:
    sure = torch.ones(4)
    assert calibration_error(sure, torch.tensor([True] * 4)) == 0
    assert calibration_error(sure, torch.tensor([False] * 4)) == 1
    assert calibration_error(torch.full((4,), 0.75), torch.tensor([True, True, True, False])) == 0
    # Two bins: 0.9 and 0.9 of which one is right (0.4 too sure), 0.5 and 0.5 of which both are (0.5 too
    # unsure).
    mixed = calibration_error(torch.tensor([0.9, 0.9, 0.5, 0.5]), torch.tensor([True, False, True, True]))
    assert mixed == pytest.approx((2 * 0.4 + 2 * 0.5) / 4, abs=1e-6)


def test_calibration_error_agrees_with_a_loop_over_bins(case: tuple[Tensor, Tensor]) -> None:
    logits, targets = case
    confidences, given = logits.double().softmax(1).max(1)
    correct = given == targets
    total = 0.0
    for edge in range(15):
        within = (confidences > edge / 15) & (confidences <= (edge + 1) / 15)
        if within.any():
            gap = correct[within].double().mean() - confidences[within].mean()
            total += float(within.double().mean() * gap.abs())
    assert measure(logits, targets, NAMES).calibration_error == pytest.approx(total, abs=1e-6)


def test_several_labels_agree_with_scikit_learn(several: tuple[Tensor, Tensor]) -> None:
    logits, targets = several
    report = measure(logits, targets, NAMES, multi_label=True)
    assert report.multi_label
    assert report.mean_average_precision == pytest.approx(
        sklearn_metrics.average_precision_score(targets, logits.sigmoid(), average="macro")
    )
    expected = sklearn_metrics.precision_recall_fscore_support(targets, logits.sigmoid() >= 0.5)
    for k, line in enumerate(report.per_class):
        assert (line.precision, line.recall, line.f1, line.images) == pytest.approx(
            tuple(column[k] for column in expected)
        )
    assert report.macro_f1 == pytest.approx(sklearn_metrics.f1_score(targets, logits.sigmoid() >= 0.5, average="macro"))
    assert report.loss == pytest.approx(
        np.mean([sklearn_metrics.log_loss(targets[:, k], logits[:, k].sigmoid()) for k in range(7)]), rel=1e-5
    )
    assert (report.top1, report.top5, report.interval95, report.error) == (None, None, None, None)
    assert (report.calibration_error, report.confusion) == (None, None)
    assert report.score == report.mean_average_precision


def test_several_labels_with_a_class_that_no_image_has(several: tuple[Tensor, Tensor]) -> None:
    logits, targets = several
    targets[:, 2] = 0
    report = measure(logits, targets, NAMES, multi_label=True)
    others = [k for k in range(7) if k != 2]
    assert report.per_class[2].average_precision is None
    assert report.mean_average_precision == pytest.approx(
        sklearn_metrics.average_precision_score(targets[:, others], logits[:, others])
    )
    nothing = measure(logits, torch.zeros_like(targets), NAMES, multi_label=True)
    assert nothing.mean_average_precision is None
    assert nothing.score == 0


def test_what_is_not_a_number_counts_as_wrong_and_stays_out_of_the_json(tmp_path: Path) -> None:
    logits = torch.tensor([[5.0, 0.0], [math.nan, 0.0], [0.0, 5.0], [0.0, math.nan]])
    report = measure(logits, torch.tensor([0, 0, 1, 1]), ("a", "b"))
    assert report.top1 == 0.5
    assert math.isnan(report.loss)
    assert "loss" not in report.headline()
    report.write_json(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)["top1"] == 0.5


def test_json_and_csv_hold_every_class(case: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    logits, targets = case
    kept = targets != 4
    report = measure(logits[kept], targets[kept], ('with, comma and "quotes"', *NAMES[1:]))
    report.write_json(tmp_path / "a.json")
    read = json.loads((tmp_path / "a.json").read_text())
    assert read["top1_low"] < read["top1"] < read["top1_high"]
    assert read["images"] == int(kept.sum())
    assert read["per_class"][4] == {
        "class": "class 4", "images": 0, "precision": None, "recall": None, "f1": None
    }  # fmt: skip
    assert np.array_equal(read["confusion"], report.confusion)
    report.write_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["class"] == 'with, comma and "quotes"'
    assert float(rows[0]["f1"]) == report.per_class[0].f1
    assert rows[4]["recall"] == ""


def test_many_classes_get_no_confusion_table() -> None:
    names = tuple(map(str, range(1001)))
    assert measure(torch.randn(3, 1001), torch.tensor([0, 1, 2]), names).confusion is None


def test_no_images_and_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        measure(torch.zeros(0, 2), torch.zeros(0), ("a", "b"))
    for logits, targets in (
        (torch.zeros(3, 3), torch.zeros(3)),
        (torch.zeros(3, 2), torch.zeros(4)),
        (torch.zeros(3, 2), torch.zeros(3, 2)),
    ):
        with pytest.raises(UsageError, match="2 classes"):
            measure(logits, targets, ("a", "b"))


def test_integer_and_half_precision_inputs_are_taken() -> None:
    report = measure(torch.eye(3, dtype=torch.bfloat16), torch.arange(3, dtype=torch.int32), ("a", "b", "c"))
    assert report.top1 == 1
