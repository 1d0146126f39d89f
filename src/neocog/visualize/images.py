"""Photographs in a grid, with what they are and what the network took them for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neocog.visualize import style

if TYPE_CHECKING:
    from PIL.Image import Image

Item = tuple["Image", str | None, str, float]
"""An image, its true class (None where it is not known), the predicted class, and that class's probability."""

CELL = 2.0  # inches of a cell's side
CAPTION = 0.5  # inches below an image
FONT = 9.0
COLUMNS_OF_TEXT = 26  # characters that fit below an image
MOST = 60  # images in one figure
TINY = 64  # pixels: images up to this side are enlarged as squares, so that their pixels stay sharp


def worst_mistakes(items: Sequence[Item], path: str | Path, *, columns: int = 5) -> Path:
    """Draw the images that were misclassified with most confidence.

    Args:
        items: (image, true name, predicted name, probability) in the order to draw, the worst first; at most 60
            are drawn.
        path: file to write; its suffix names the format.
        columns: images in a row.

    Returns:
        The path written.
    """
    if not items:
        return style.message_figure("No mistake: every image was classified correctly.", path)

    def caption(true: str | None, predicted: str, score: float) -> list[tuple[str, str]]:
        said = _fit(predicted, "taken for ", f", {style.percent(score)}")
        return [(_fit(true or "?", "", ""), style.INK), (said, style.VERMILION)]

    shown = min(len(items), MOST)
    finding = "The only mistake" if shown == 1 else f"The {shown} mistakes made with most confidence"
    return _grid(items[:MOST], path, columns, finding, caption)


def predictions(items: Sequence[Item], path: str | Path, *, columns: int = 6) -> Path:
    """Draw sample images with their predictions, marked right or wrong where the truth is known.

    Args:
        items: (image, true name or None, predicted name, probability); at most 60 are drawn.
        path: file to write; its suffix names the format.
        columns: images in a row.

    Returns:
        The path written.
    """
    if not items:
        return style.message_figure("No image to show.", path)

    def caption(true: str | None, predicted: str, score: float) -> list[tuple[str, str]]:
        end = f", {style.percent(score)}"
        if true is None:
            return [(_fit(predicted, "", end), style.INK)]
        if true == predicted:
            return [(_fit(predicted, "✓ ", end), "#00785a")]
        return [(_fit(predicted, "✗ ", end), style.VERMILION), (_fit(true, "is ", ""), style.INK)]

    shown = items[:MOST]
    known = [true == predicted for _, true, predicted, _ in shown if true is not None]
    finding = f"{sum(known)} of {len(known)} samples right" if known else f"Predictions for {len(shown)} images"
    return _grid(shown, path, columns, finding, caption)


def _fit(name: str, before: str, after: str) -> str:
    """Return a caption line with `name` shortened to what the rest leaves it."""
    one_line = " ".join(str(name).split())
    return before + style.plain(style.shorten(one_line, COLUMNS_OF_TEXT - len(before) - len(after))) + after


def _grid(
    items: Sequence[Item],
    path: str | Path,
    columns: int,
    finding: str,
    caption: Callable[[str | None, str, float], list[tuple[str, str]]],
) -> Path:
    columns = max(1, min(columns, len(items)))
    rows = -(-len(items) // columns)
    top, gap = 0.5, 0.12
    width = max(columns, 3) * (CELL + gap) + gap
    height = rows * (CELL + CAPTION + gap) + top
    figure = style.new_figure(width, height, constrained=False)
    for number, (image, true, predicted, score) in enumerate(items):
        row, column = divmod(number, columns)
        left = gap + column * (CELL + gap)
        bottom = height - top - row * (CELL + CAPTION + gap) - CELL
        axes = figure.add_axes((left / width, bottom / height, CELL / width, CELL / height))
        axes.axis("off")
        pixels = _pixels(image)
        axes.imshow(pixels, interpolation="nearest" if max(pixels.shape[:2]) <= TINY else "antialiased")
        for line, (text, colour) in enumerate(caption(true, predicted, score)):
            below = bottom - 0.05 - line * FONT * 1.35 / 72
            figure.text(left / width, below / height, text, va="top", fontsize=FONT, color=colour)
    style.headline(figure, finding)
    return style.save(figure, path)


def _pixels(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return `image` as RGB, no larger than its cell can show."""
    shown = image.convert("RGB")
    most = int(CELL * style.DPI)
    shown.thumbnail((most, most))  # keeps the sides' ratio; leaves small images as they are
    return np.asarray(shown)
