"""A photograph and what filters make of it: panels in a grid, each with its kernel beside its title."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from neocog.errors import UsageError
from neocog.visualize import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Look = Literal["photograph", "signed", "strength", "directions"]
Numbers = NDArray[np.float32]

FORMATS = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".webp", ".tif", ".tiff")
PANEL = 3.0  # inches of a panel's longer side: 450 pixels in print
HEAD, GAP, TOP, FOOT = 0.62, 0.22, 0.5, 0.3  # inches: above a panel, between panels, above and below all
LEADING = 1.3  # from line to line, in heights of the font
KERNEL = 0.5  # inches of a kernel's side
FAINT = 0.25  # one sign's greatest share of the other's below which a root is drawn, so that it can be seen
MOST_NUMBERED = 3  # kernels up to this side have their numbers written into them
BRIGHTEST = 99.5  # the percentile that gets the full colour; beyond are a few sharp corners


@dataclass(frozen=True)
class Panel:
    """One picture of the grid.

    Attributes:
        title: what it is.
        note: one short line on how to read it.
        values: a "photograph" is `(H, W, 3)` in [0, 1], clipped; "signed" answers are `(H, W)`, white at zero, blue
            below and vermilion above; a "strength" is `(H, W)` from 0, which is white; "directions" are strengths
            `(K, H, W)` of K directions between 0° and 180°, drawn in the hue of the strongest.
        look: which of these.
        kernel: `(h, w)`, drawn beside the title.
    """

    title: str
    note: str
    values: Numbers
    look: Look = "photograph"
    kernel: Numbers | None = None


def check(path: Path) -> None:
    """Raise `UsageError` where a picture cannot be written in the format that `path` names."""
    if path.suffix.lower() not in FORMATS or path.is_dir():
        raise UsageError(f"a picture's file ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}; not {path}")


def draw(panels: Sequence[Panel], path: str | Path, *, title: str = "", foot: str = "") -> Path:
    """Draw panels of equal size in rows.

    Args:
        panels: in the order of reading.
        path: file to write; its suffix names the format.
        title: what they show, above all.
        foot: what holds for all of them, below.

    Returns:
        The path written.

    Raises:
        UsageError: a format that cannot be written.
        StorageError: a place that cannot be written.
    """
    check(Path(path))
    height, width = panels[0].values.shape[-2:] if panels[0].look != "photograph" else panels[0].values.shape[:2]
    scale = PANEL / max(height, width)
    wide, high = max(width * scale, 0.5 * PANEL), max(height * scale, 0.3 * PANEL)
    columns = columns_of(len(panels))
    rows = -(-len(panels) // columns)
    across = columns * (wide + GAP) - GAP
    feet = textwrap.wrap(style.plain(foot), int(across * 72 / (style.TICK * 0.6)))
    top = TOP + max(0, len(style.title_lines(title, across)) - 1) * style.TITLE * LEADING / 72
    below = FOOT + (len(feet) - 1) * style.TICK * LEADING / 72 if feet else 0.0
    down = top + rows * (HEAD + high + GAP) - GAP + below
    figure = style.new_figure(across, down, constrained=False)
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        left = column * (wide + GAP)
        bottom = down - top - row * (HEAD + high + GAP) - HEAD - high
        axes = figure.add_axes((left / across, bottom / down, wide / across, high / down), anchor="SW")
        _strip(axes)
        axes.imshow(coloured(panel), interpolation="antialiased")
        _head(figure, panel, (left, bottom + high, wide), (across, down))
    style.headline(figure, title)
    figure.text(0, 0, "\n".join(feet), fontsize=style.TICK, color=style.MUTED, va="bottom")
    return style.save(figure, path)


def columns_of(count: int) -> int:
    """Return how many panels stand in a row, such that rows are full where they can be."""
    if count <= 3:
        return count
    return 4 if count % 4 == 0 and count > 4 else 2 if count == 4 else 3


def coloured(panel: Panel) -> Numbers:
    """Return a panel's values as colours `(H, W, 3)` in [0, 1]."""
    values = panel.values
    if panel.look == "photograph":
        return np.clip(values, 0, 1)
    most = max(float(np.percentile(np.abs(values), BRIGHTEST)), 1e-6)
    if panel.look == "signed":
        return _diverging(values / most)
    if panel.look == "strength":
        return np.repeat(1 - 0.95 * (values / most).clip(0, 1)[..., None], 3, axis=2)
    strongest = (values.max(0) / most).clip(0, 1)
    mixed: Numbers = 1 - strongest[..., None] * (1 - _hues(values.argmax(0) / len(values)))
    return mixed


def _hues(turn: NDArray[np.float64]) -> Numbers:
    """Return colours around a circle, of about the same darkness on white, for numbers from 0 to 1."""
    angle = 2 * np.pi * (turn[..., None] - np.array([0.0, 1 / 3, 2 / 3]))
    waves: Numbers = (0.42 + 0.42 * np.cos(angle)).astype(np.float32)
    return waves


def _diverging(share: Numbers) -> Numbers:
    """Return blue for -1, white for 0 and vermilion for 1."""
    ends = {sign: np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255
            for sign, code in ((-1, style.BLUE), (1, style.VERMILION))}  # fmt: skip
    amount = np.abs(share).clip(0, 1)[..., None]
    colour = np.where(share[..., None] < 0, ends[-1], ends[1])
    mixed: Numbers = (1 - amount * (1 - colour)).astype(np.float32)
    return mixed


def _head(figure: Figure, panel: Panel, corner: tuple[float, float, float], size: tuple[float, float]) -> None:
    """Write a panel's title and note above it, and draw its kernel, or the circle of directions, at the right."""
    (left, bottom, wide), (across, down) = corner, size
    room = int((wide - (KERNEL + 0.08 if panel.kernel is not None or panel.look == "directions" else 0)) * 72)
    for text, font, colour, above, weight in (
        (panel.title, style.LABEL + 1, style.INK, 0.30, "bold"),
        (panel.note, style.TICK - 1, style.MUTED, 0.09, "normal"),
    ):
        shown = style.plain(style.shorten(text, int(room / (font * 0.52))))
        figure.text(left / across, (bottom + above) / down, shown, fontsize=font, color=colour, fontweight=weight)
    frame = ((left + wide - KERNEL) / across, (bottom + 0.06) / down, KERNEL / across, KERNEL / down)
    if panel.look == "directions":
        _circle(figure.add_axes(frame), len(panel.values))
    elif panel.kernel is not None:
        _kernel(figure.add_axes(frame), panel.kernel)


def _strip(axes: Axes) -> Axes:
    """Return `axes` without ticks and box."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return axes


def _kernel(axes: Axes, kernel: Numbers) -> None:
    """Draw a kernel: white at zero, and its numbers where there are few."""
    numbered = max(kernel.shape) <= MOST_NUMBERED
    share = kernel / max(float(np.abs(kernel).max()), 1e-12)
    if not numbered and 0 < min(share.max(), -share.min()) < FAINT:
        share = np.sign(share) * np.sqrt(np.abs(share))
    axes.imshow(_diverging(share), interpolation="nearest")
    for side in _strip(axes).spines.values():
        side.set(visible=True, color=style.MUTED, linewidth=0.6)
    if not numbered:
        return
    for (row, column), value in np.ndenumerate(kernel):
        strong = abs(value) > 0.6 * np.abs(kernel).max()
        text = f"{value:g}".replace("-", "\N{MINUS SIGN}")
        axes.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if strong else style.INK)


def _circle(axes: Axes, count: int) -> None:
    """Draw lines in the directions of the stripes, each in its hue."""
    _strip(axes).set(xlim=(-1, 1), ylim=(1, -1), aspect="equal")
    for number in range(count):
        # Direction k lies across the stripes; they themselves run at a right angle to it.
        angle = np.pi * number / count + np.pi / 2
        x, y = np.cos(angle), np.sin(angle)
        colour = tuple(_hues(np.array(number / count)))
        axes.plot([-x, x], [-y, y], color=colour, linewidth=1.8, solid_capstyle="round")
