"""The reliability diagram and its error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from figure_pixels import near, pixels

from neocog.errors import UsageError
from neocog.visualize import reliability_diagram, style
from neocog.visualize.calibration import _bins, _finding, _wilson


def reference_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """The expected calibration error, image by image."""
    total = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


def test_the_bins_give_the_expected_calibration_error():
    random = np.random.default_rng(0)
    confidence = np.concatenate([random.uniform(1e-6, 1, 500), [1.0, 1 / 15, 2 / 15, 0.2]])
    correct = (random.uniform(size=504) < confidence**2).astype(float)
    counts, mean_confidence, accuracy = _bins(confidence, correct)
    assert counts.sum() == 504
    error = (np.abs(mean_confidence - accuracy) * counts).sum() / 504
    assert error == pytest.approx(reference_error(confidence, correct), abs=1e-12)


def test_the_interval_is_wilsons():
    low, high = _wilson(np.array([0.9]), np.array([50]))
    assert (low[0], high[0]) == pytest.approx((0.7864, 0.9565), abs=1e-4)


@pytest.mark.parametrize(
    ("error", "confidence", "accuracy", "words"),
    [
        (0.01, 0.95, 0.96, "well calibrated"),
        (0.2, 0.95, 0.75, "too sure"),
        (0.2, 0.75, 0.95, "too modest"),
        (0.2, 0.8, 0.8, "not at each"),
    ],
)
def test_the_title_states_the_finding(error: float, confidence: float, accuracy: float, words: str):
    assert words in _finding(error, confidence, accuracy)


def test_bars_and_gaps_are_drawn(tmp_path: Path):
    confidence = np.linspace(0.3, 0.99, 400)
    figure = reliability_diagram(confidence, np.arange(400) % 3 == 0, tmp_path / "calibration.png")
    height, width, _ = pixels(figure).shape
    assert height > width > 700
    assert near(figure, style.BLUE) > 10_000
    assert near(figure, style.VERMILION) > 3_000


def test_no_image_is_a_sentence(tmp_path: Path):
    assert pixels(reliability_diagram([], [], tmp_path / "calibration.png")).shape[0] < 300


@pytest.mark.parametrize(("probabilities", "correct"), [([0.5, 0.5], [True]), ([3.2], [True]), ([np.nan], [True])])
def test_what_are_no_probabilities_is_refused(tmp_path: Path, probabilities: list[float], correct: list[bool]):
    with pytest.raises(UsageError):
        reliability_diagram(probabilities, correct, tmp_path / "calibration.png")
