"""The confusion matrix: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neocog.errors import UsageError
from neocog.visualize import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_WITH_COUNTS = 20  # classes: with more, counts in cells cannot be read
MOST_WITH_NAMES = 60  # classes: with more, names along the axes cannot be read
MOST_CELLS = 400  # along a side: with more, cells are smaller than a dot of the figure
PAIRS = 20


def confusion_matrix(matrix: ArrayLike, classes: Sequence[str], path: str | Path) -> Path:
    """Draw a confusion matrix, coloured by the share of each true class.

    With few classes each cell holds its count; with many, the most confused pairs stand beside the matrix. A class
    without images is a grey row.

    Args:
        matrix: counts `(K, K)`, true classes in rows, predicted ones in columns.
        classes: the K names.
        path: file to write; its suffix names the format.

    Returns:
        The path written.

    Raises:
        UsageError: a matrix that is not `(K, K)` for K names.
    """
    counts = np.asarray(matrix)
    size = len(classes)
    if counts.shape != (size, size) or not size:
        raise UsageError(f"a confusion matrix of {size} classes is ({size}, {size}), not {counts.shape}")
    images = counts.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(images[:, None] > 0, counts / images[:, None], np.nan)

    few = size <= MOST_WITH_COUNTS
    side = float(np.clip(size * (0.52 if few else 0.17), 2.6, 9.0)) if size <= MOST_WITH_NAMES else 6.6
    names = style.name_labels(classes, 22)
    margin = 0.1 + 0.085 * max(len(name) for name in names) if size <= MOST_WITH_NAMES else 0.7
    width = side + margin + (0.6 if few else 5.0)
    figure = style.new_figure(max(width, 5.6), side + margin + (1.0 if few else 0.8))
    if few:
        axes = figure.subplots()
    else:
        axes, beside = figure.subplots(1, 2, width_ratios=[side + margin, 4.4])
        _list_pairs(beside, counts, images, names)
    _draw_cells(axes, shares, gamma=1.0 if few else 0.5)
    if few:
        _write_counts(axes, counts, shares)
    if size <= MOST_WITH_NAMES:
        font = style.TICK if few else 7.0
        axes.set_xticks(range(size), names, fontsize=font, rotation=45 if few else 90, ha="right" if few else "center")
        if few:
            for label in axes.get_xticklabels():
                label.set_rotation_mode("anchor")
        axes.set_yticks(range(size), names, fontsize=font)
    kind = "class" if size <= MOST_WITH_NAMES else "class, by number"
    axes.set_xlabel(f"predicted {kind}", fontsize=style.LABEL, color=style.INK)
    axes.set_ylabel(f"true {kind}", fontsize=style.LABEL, color=style.INK)
    style.headline(figure, _finding(counts, images, names))
    return style.save(figure, path)


def most_confused(counts: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Return up to `most` pairs (true, predicted) that differ, the most frequent first."""
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = (np.unravel_index(place, wrong.shape) for place in order)
    return [(int(true), int(predicted)) for true, predicted in pairs if wrong[true, predicted] > 0]


def _draw_cells(axes: Axes, shares: NDArray[np.float64], *, gamma: float) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm

    size = len(shares)
    colours = colormaps["Blues"].with_extremes(bad=style.EMPTY)
    image = axes.imshow(
        np.ma.masked_invalid(_pooled(shares)),
        cmap=colours,
        norm=PowerNorm(gamma, 0, 1),
        interpolation="nearest",
        extent=(-0.5, size - 0.5, size - 0.5, -0.5),
    )
    axes.tick_params(labelsize=style.TICK, colors=style.INK, length=0 if size <= MOST_WITH_NAMES else 3)
    axes.spines[:].set_color(style.GRID)
    if size > MOST_WITH_COUNTS:
        bar = axes.figure.colorbar(image, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.02)
        bar.set_label("share of the true class's images", fontsize=style.TICK, color=style.MUTED)
        bar.ax.tick_params(labelsize=style.TICK, colors=style.MUTED)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.set_ticks([0, 0.1, 0.25, 0.5, 1], labels=["0", "10 %", "25 %", "50 %", "100 %"])


def _pooled(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest share of each square block, so that a lone mistake among many classes stays visible."""
    block = -(-len(shares) // MOST_CELLS)
    pad = -len(shares) % block
    padded = np.pad(shares, (0, pad), constant_values=np.nan)
    blocks = padded.reshape(len(padded) // block, block, len(padded) // block, block)
    filled = np.where(np.isnan(blocks), -1.0, blocks).max(axis=(1, 3))
    return np.where(filled < 0, np.nan, filled)


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    digits = len(f"{counts.max():g}")
    size = min(11.0, 52 * 0.52 / max(digits, 2)) if len(counts) > 5 else 12.0
    for (true, predicted), count in np.ndenumerate(counts):
        share = shares[true, predicted]
        if np.isnan(share):
            text, colour = "–", style.MUTED
        elif count:
            text, colour = f"{count:g}", "white" if share > 0.5 else style.INK
        else:
            text, colour = "·", "#b5bac1"
        weight = "bold" if true == predicted else "normal"
        axes.text(predicted, true, text, ha="center", va="center", fontsize=size, color=colour, fontweight=weight)


def _list_pairs(axes: Axes, counts: NDArray[np.int64], images: NDArray[np.int64], names: Sequence[str]) -> None:
    axes.axis("off")
    pairs = most_confused(counts, PAIRS)
    title = "most confused: true → predicted" if pairs else "no class was taken for another"
    axes.text(0, 1, title, fontsize=style.LABEL, fontweight="bold", color=style.INK, va="top")
    for line, (true, predicted) in enumerate(pairs):
        y = 0.94 - line * 0.94 / PAIRS
        times = f"{counts[true, predicted]:g} of {images[true]:g}"
        axes.text(0, y, times, fontsize=style.TICK, color=style.MUTED, va="top")
        axes.text(0.24, y, f"{names[true]} → {names[predicted]}", fontsize=style.TICK, color=style.INK, va="top")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _finding(counts: NDArray[np.int64], images: NDArray[np.int64], names: Sequence[str]) -> str:
    total = int(images.sum())
    if not total:
        return "No image was classified"
    pairs = most_confused(counts, 1)
    if not pairs:
        return f"All {total:,} images right"
    true, predicted = pairs[0]
    return (
        f"{style.percent(counts.trace() / total)} right; most often, {names[true]} is taken for {names[predicted]} "
        f"({counts[true, predicted]:g} of {images[true]:g})"
    )
