"""What the tests of figures look at: pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.int64]


def pixels(path: Path) -> Pixels:
    """Return the figure at `path` as `(H, W, 3)` in 0..255."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def bluish(path: Path) -> NDArray[np.bool_]:
    """Return where the figure is dark blue, as the diagonal of a confusion matrix."""
    red, _, blue = np.moveaxis(pixels(path), -1, 0)
    return (blue > red + 50) & (red < 60)


def orange(path: Path) -> NDArray[np.bool_]:
    """Return where the figure is orange or vermilion, the colour of mistakes and marks."""
    red, green, blue = np.moveaxis(pixels(path), -1, 0)
    return (red > 150) & (red > blue + 60) & (red > green + 20)


def near(path: Path, colour: str) -> int:
    """Return how many pixels have the colour "#rrggbb"."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels(path) - wanted).max(-1) < 8).sum())
