"""The weights of a layer that sees whole images, as the images that they are: templates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neocog.visualize import style
from neocog.visualize.filters import BRIGHTEST, Panel, check
from neocog.visualize.filters import coloured as coloured_panel

__all__ = ["MOST", "check", "coloured", "draw"]

CELL, CAPTION, GAP, TOP, FOOT = 1.4, 0.28, 0.12, 0.5, 0.34  # inches: a template, its name, between, above and below all
COLUMNS = 5
MOST = 60  # templates in one figure


def draw(templates: NDArray[np.float32], names: Sequence[str], path: str | Path, *, title: str = "") -> Path:
    """Draw templates in rows of five or ten, each under its name and each with the full range of colours.

    Args:
        templates: `(K, C, H, W)`, with C = 3 drawn in colour and any other number summed; at most 60 are drawn.
        names: of what each is the template of.
        path: file to write; its suffix names the format.
        title: what they show, above all.

    Returns:
        The path written.

    Raises:
        UsageError: a format that cannot be written.
        StorageError: a place that cannot be written.
    """
    check(Path(path))
    templates = templates[:MOST]
    columns = min(COLUMNS if len(templates) <= 2 * COLUMNS else 2 * COLUMNS, len(templates))
    rows = -(-len(templates) // columns)
    across = max(columns * (CELL + GAP) - GAP, 4.0)
    down = TOP + rows * (CELL + CAPTION + GAP) + FOOT
    figure = style.new_figure(across, down, constrained=False)
    labels = style.name_labels(names[: len(templates)], int(CELL * 72 / (style.TICK * 0.55)))
    for place, (template, label) in enumerate(zip(templates, labels, strict=True)):
        row, column = divmod(place, columns)
        left, bottom = column * (CELL + GAP), down - TOP - row * (CELL + CAPTION + GAP) - CAPTION - CELL
        axes = figure.add_axes((left / across, bottom / down, CELL / across, CELL / down), anchor="SW")
        axes.axis("off")
        axes.imshow(coloured(template), interpolation="nearest")
        figure.text(left / across, (bottom + CELL + 0.06) / down, label, fontsize=style.TICK, color=style.INK)
    style.headline(figure, title)
    figure.text(0, 0, foot(templates.shape[1]), fontsize=style.TICK, color=style.MUTED, va="bottom")
    return style.save(figure, path)


def foot(channels: int) -> str:
    """Return how to read the colours."""
    if channels == 3:
        return "A colour speaks for the class where it is bright; grey is no weight."
    return "Orange: ink here speaks for it; blue: against it; white is no weight."


def coloured(template: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a template `(C, H, W)` as colours `(H, W, 3)` in [0, 1], zero in the middle of each range."""
    if len(template) != 3:
        return coloured_panel(Panel("", "", template.sum(0), "signed"))
    most = max(float(np.percentile(np.abs(template), BRIGHTEST)), 1e-12)
    scaled: NDArray[np.float32] = template.transpose(1, 2, 0) / (2 * most) + 0.5
    return scaled.clip(0, 1)
