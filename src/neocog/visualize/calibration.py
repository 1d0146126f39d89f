"""The reliability diagram: does a stated confidence of 90 % mean right nine times in ten?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neocog.errors import UsageError
from neocog.visualize import style

BINS = 15


def reliability_diagram(probabilities: ArrayLike, correct: ArrayLike, path: str | Path) -> Path:
    """Draw accuracy against confidence in 15 bins of equal width, with the share of images in each below.

    The title states the expected calibration error: the mean over images of the gap between a bin's accuracy
    and its mean confidence (Guo et al. 2017, equation 3).

    Args:
        probabilities: `(N,)`: the probability given to the predicted class of each image, in [0, 1].
        correct: `(N,)`: whether the prediction was right.
        path: file to write; its suffix names the format.

    Returns:
        The path written.

    Raises:
        UsageError: arrays of different length, or values that are not probabilities.
    """
    confidence, right = np.asarray(probabilities, np.float64), np.asarray(correct, np.float64)
    if confidence.shape != right.shape or confidence.ndim != 1:
        raise UsageError(f"{confidence.shape} probabilities and {right.shape} outcomes are not one of each an image")
    if not len(confidence):
        return style.message_figure("No image was classified: there is no calibration to draw.", path)
    if not ((confidence >= 0) & (confidence <= 1.000001)).all():
        raise UsageError("probabilities lie between 0 and 1; give the softmax of the logits, not the logits")
    counts, mean_confidence, accuracy = _bins(confidence, right)
    used = counts > 0
    error = float(np.abs(accuracy - mean_confidence)[used] @ counts[used] / len(confidence))

    figure = style.new_figure(6.2, 6.4)
    upper, lower = figure.subplots(2, 1, height_ratios=[3.4, 1], sharex=True)
    centres, width = (np.arange(BINS) + 0.5) / BINS, 0.86 / BINS
    upper.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label="perfectly calibrated")
    upper.bar(centres[used], accuracy[used], width, color=style.BLUE, label="accuracy")
    upper.bar(
        centres[used],
        (mean_confidence - accuracy)[used],
        width,
        bottom=accuracy[used],
        color="none",
        edgecolor=style.VERMILION,
        hatch="////",
        linewidth=1.2,
        label="gap to mean confidence",
    )
    low, high = _wilson(accuracy[used], counts[used])
    upper.vlines(centres[used], low, high, color=style.INK, linewidth=1.2, label="95 % interval of accuracy")
    style.dress(upper, y="accuracy")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    upper.legend(fontsize=style.TICK, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, frameon=False)
    lower.bar(centres, counts / len(confidence), width, color=style.SKY)
    style.dress(lower, x="confidence: probability of the predicted class", y="share of images")
    for axis in (upper.yaxis, lower.yaxis, lower.xaxis):
        style.as_percent(axis)
    figure.align_ylabels()
    style.headline(figure, _finding(error, confidence.mean(), right.mean()))
    return style.save(figure, path)


def _bins(
    confidence: NDArray[np.float64], right: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the count, mean confidence and accuracy `(BINS,)` of bins that each include their upper edge."""
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    at_least_one = np.maximum(counts, 1)
    mean_confidence = np.bincount(place, confidence, BINS) / at_least_one
    return counts, mean_confidence, np.bincount(place, right, BINS) / at_least_one


def _wilson(share: NDArray[np.float64], count: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Wilson's 95 % interval of a share observed in `count` trials."""
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return centre - half, centre + half


def _finding(error: float, confidence: float, accuracy: float) -> str:
    sides = f"{style.percent(confidence)} sure on average, {style.percent(accuracy)} right"
    if error < 0.02 and abs(confidence - accuracy) < 0.02:
        verdict = "well calibrated"
    elif confidence > accuracy + 0.01:
        verdict = "too sure of itself"
    elif confidence < accuracy - 0.01:
        verdict = "too modest"
    else:
        verdict = "right on average, but not at each confidence"
    return f"Calibration error {style.percent(error)}: {verdict} ({sides})"
