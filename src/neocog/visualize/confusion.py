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
    """Draw a confusion matrix, blue where right and orange where wrong, deeper for a larger share of a row.

    With few classes each cell holds its count; with many, the most confused pairs stand beside the matrix. A
    class without images is a grey row.

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

    few, named = size <= MOST_WITH_COUNTS, size <= MOST_WITH_NAMES
    names = style.name_labels(classes, 22)
    side = float(np.clip(size * (0.52 if few else 0.17), 2.6, 9.0)) if named else 6.6
    margin = 0.3 + 0.085 * max(len(name) for name in names) if named else 0.7
    if few:
        figure = style.new_figure(max(side + margin, 5.6), side + margin + 0.6)
        axes = figure.subplots()
        _draw_cells(axes, shares)
        _write_counts(axes, counts, shares, side / size)
    else:
        figure = style.new_figure(side + margin + 4.6, side + margin + 1.4)
        axes, beside = figure.subplots(1, 2, width_ratios=[side + margin, 4.4])
        _draw_cells(axes, shares)
        _add_scale(axes)
        _list_pairs(beside, counts, images, names)
    axes.set_anchor("NW")
    if named:
        _name_axes(axes, names, side / size)
    kind = "class" if named else "class, by number"
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


def _draw_cells(axes: Axes, shares: NDArray[np.float64]) -> None:
    from matplotlib import colormaps

    size = len(shares)
    right, wrong = _pooled(shares)
    empty = np.isnan(wrong)
    # The square root makes a mistake of one in a hundred visible beside the full colour of the diagonal.
    colours = colormaps["Oranges"](np.sqrt(np.where(empty, 0, wrong)) * 0.9)
    colours[wrong == 0] = 1
    colours[empty] = (0.93, 0.93, 0.93, 1)
    on_diagonal = np.flatnonzero(~np.isnan(right))
    colours[on_diagonal, on_diagonal] = colormaps["Blues"](right[on_diagonal])
    axes.imshow(colours, interpolation="nearest", extent=(-0.5, size - 0.5, size - 0.5, -0.5))
    axes.tick_params(labelsize=style.TICK, colors=style.INK, length=0 if size <= MOST_WITH_NAMES else 3)
    axes.spines[:].set_color("#b5bac1")


def _pooled(shares: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share right of each class `(K,)` and the shares wrong `(K, K)`; of blocks where K is large.

    A block of classes holds the mean of what is right and the largest of what is wrong, so that a lone
    mistake among a thousand classes stays visible. NaN marks classes without images.
    """
    size = len(shares)
    block = -(-size // MOST_CELLS)
    blocks = -(-size // block)
    wrong = np.full((blocks * block, blocks * block), -1.0)
    wrong[:size, :size] = np.where(np.eye(size, dtype=bool) & ~np.isnan(shares), 0, np.nan_to_num(shares, nan=-1.0))
    wrong = wrong.reshape(blocks, block, blocks, block).max(axis=(1, 3))
    diagonal = shares.diagonal()
    place, counted = np.arange(size) // block, ~np.isnan(diagonal)
    with np.errstate(invalid="ignore"):
        right = np.bincount(place[counted], diagonal[counted], blocks) / np.bincount(place[counted], minlength=blocks)
    return right, np.where(wrong < 0, np.nan, wrong)


def _add_scale(axes: Axes) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm

    scale = ScalarMappable(PowerNorm(0.5, 0, 1 / 0.81), "Oranges")
    bar = axes.figure.colorbar(scale, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.05)
    bar.set_label("mistakes: share of the true class's images", fontsize=style.TICK, color=style.MUTED)
    bar.ax.tick_params(labelsize=style.TICK, colors=style.MUTED)
    bar.ax.set_xlim(0, 1)
    bar.ax.spines[:].set_visible(False)
    bar.set_ticks([0, 0.1, 0.25, 0.5, 1], labels=["0", "10 %", "25 %", "50 %", "100 %"])


def _name_axes(axes: Axes, names: Sequence[str], cell: float) -> None:
    """Write the class names along both axes, upright or slanted where cells of `cell` inches are narrower."""
    size = len(names)
    font = style.TICK if size <= MOST_WITH_COUNTS else 7.0
    axes.set_yticks(range(size), names, fontsize=font)
    if max(len(name) for name in names) * 0.085 < cell:
        axes.set_xticks(range(size), names, fontsize=font)
    elif size <= MOST_WITH_COUNTS:
        axes.set_xticks(range(size), names, fontsize=font, rotation=45, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(range(size), names, fontsize=font, rotation=90)


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64], cell: float) -> None:
    longest = len(f"{counts.max():,}")
    size = min(11.0, 72 * cell / (0.65 * longest + 0.8))
    for (true, predicted), count in np.ndenumerate(counts):
        share = shares[true, predicted]
        if np.isnan(share):
            text, colour = "–", style.MUTED
        else:
            text, colour = (f"{count:,}" if count else "·"), "white" if share > 0.5 else style.INK
        weight = "bold" if true == predicted and share > 0 else "normal"
        axes.text(predicted, true, text, ha="center", va="center", fontsize=size, color=colour, fontweight=weight)


def _list_pairs(axes: Axes, counts: NDArray[np.int64], images: NDArray[np.int64], names: Sequence[str]) -> None:
    axes.axis("off")
    pairs = most_confused(counts, PAIRS)
    title = "most confused: true → predicted" if pairs else "no class was taken for another"
    axes.text(0, 1, title, fontsize=style.LABEL, fontweight="bold", color=style.INK, va="top")
    for line, (true, predicted) in enumerate(pairs):
        y = 0.94 - line * 0.94 / PAIRS
        times = f"{counts[true, predicted]:,} of {images[true]:,}"
        axes.text(0, y, times, fontsize=style.TICK, color=style.MUTED, va="top")
        axes.text(0.2, y, f"{names[true]} → {names[predicted]}", fontsize=style.TICK, color=style.INK, va="top")
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
        f"{style.percent(counts.trace() / total)} right; most frequent mistake: {names[true]} taken for "
        f"{names[predicted]} ({counts[true, predicted]:,} of {images[true]:,})"
    )
