"""Photographs in a grid, with what they are and what the network took them for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neocog.visualize import style

if TYPE_CHECKING:
    from PIL.Image import Image

Item = tuple["Image", str | None, str, float]
"""An image, its true class (None where it is not known), the predicted class, and its probability."""

CELL, TINY_CELL = 2.0, 1.4  # inches of a cell's side: of photographs, of tiny images
TINY = 64  # pixels: images up to this side are enlarged as squares, so that their pixels stay sharp
CAPTION, GAP, TOP = 0.42, 0.12, 0.45  # inches: below an image, between cells, above all
FONT = 9.0
MOST = 60  # images in one figure
RIGHT = "#00785a"  # the house's green, dark enough for small text


def worst_mistakes(items: Sequence[Item], path: str | Path, *, columns: int | None = None) -> Path:
    """Draw the images that were misclassified with most confidence.

    Args:
        items: (image, true name, predicted name, probability), the worst first; at most 60 are drawn.
        path: file to write; its suffix names the format.
        columns: images in a row; None for 5 photographs or 8 tiny images.

    Returns:
        The path written.
    """
    if not items:
        return style.message_figure("No mistake: every image was classified correctly.", path)
    shown = min(len(items), MOST)
    finding = "The only mistake" if shown == 1 else f"The {shown} mistakes made with most confidence"
    return _grid(items[:MOST], path, columns, finding)


def predictions(items: Sequence[Item], path: str | Path, *, columns: int | None = None) -> Path:
    """Draw sample images with their predictions, marked right or wrong where the truth is known.

    Args:
        items: (image, true name or None, predicted name, probability); at most 60 are drawn.
        path: file to write; its suffix names the format.
        columns: images in a row; None for 5 photographs or 8 tiny images.

    Returns:
        The path written.
    """
    if not items:
        return style.message_figure("No image to show.", path)
    shown = items[:MOST]
    known = [true == predicted for _, true, predicted, _ in shown if true is not None]
    finding = f"{sum(known)} of {len(known)} samples right" if known else f"Predictions for {len(shown)} images"
    return _grid(shown, path, columns, finding)


def _grid(items: Sequence[Item], path: str | Path, columns: int | None, finding: str) -> Path:
    tiny = all(max(image.size) <= TINY for image, *_ in items)
    cell = TINY_CELL if tiny else CELL
    columns = max(1, min(columns or (8 if tiny else 5), len(items)))
    rows = [items[start : start + columns] for start in range(0, len(items), columns)]
    tops = [max(_height(image, cell) for image, *_ in row) for row in rows]
    width = max(columns * (cell + GAP) - GAP, 6.0)  # room for the title above a single image
    height = TOP + sum(tops) + len(rows) * (CAPTION + GAP)
    figure = style.new_figure(width, height, constrained=False)
    room = int(cell * 72 / (FONT * 0.56))  # characters that fit below an image
    bottom = height - TOP + CAPTION + GAP
    for row, top in zip(rows, tops, strict=True):
        bottom -= CAPTION + GAP + top
        for column, (image, true, predicted, score) in enumerate(row):
            left = column * (cell + GAP)
            axes = figure.add_axes((left / width, bottom / height, cell / width, top / height), anchor="SW")
            axes.axis("off")
            pixels = _pixels(image, int(cell * style.DPI))
            axes.imshow(pixels, interpolation="nearest" if max(pixels.shape[:2]) <= TINY else "antialiased")
            for line, (text, colour) in enumerate(_caption(true, predicted, score, room)):
                below = bottom - 0.05 - line * FONT * 1.35 / 72
                figure.text(left / width, below / height, text, va="top", fontsize=FONT, color=colour)
    style.headline(figure, finding)
    return style.save(figure, path)


def _height(image: Image, cell: float) -> float:
    """Return the inches that `image` is high in a cell of `cell` inches."""
    width, height = image.size
    return cell * min(1.0, height / width)


def _caption(true: str | None, predicted: str, score: float, room: int) -> list[tuple[str, str]]:
    """Return the lines below an image, with their colours."""
    end = f", {style.percent(score, 0)}"
    if true is None:
        return [(_fit("", predicted, end, room), style.INK)]
    if true == predicted:
        return [(_fit("✓ ", predicted, end, room), RIGHT)]
    return [(_fit("✗ ", predicted, end, room), style.VERMILION), (_fit("is ", true, "", room), style.INK)]


def _fit(before: str, name: str, after: str, room: int) -> str:
    """Return a caption line with `name` shortened to what the rest leaves it of `room` characters."""
    one_line = " ".join(str(name).split())
    return before + style.plain(style.shorten(one_line, room - len(before) - len(after))) + after


def _pixels(image: Image, most: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return `image` as RGB, with sides of at most `most` pixels: no more than its cell can show."""
    shown = image.convert("RGB")
    shown.thumbnail((most, most))  # keeps the sides' ratio, and leaves small images as they are
    return np.asarray(shown)
