"""What a layer sees: its receptive field on a photograph, beside what it listens to."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neocog.visualize import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from PIL.Image import Image

    from neocog.analysis.effective_field import EffectiveField
    from neocog.analysis.receptive_field import ReceptiveField

Box = tuple[float, float, float, float]
"""First and last row, first and last column, in pixels of the network's input."""

VEIL = 0.62  # how far the photograph fades where nothing is seen


def draw(
    image: Image | None, field: ReceptiveField, effective: EffectiveField, path: str | Path, *, network: str = ""
) -> Path:
    """Draw what one position of a layer can see, and beside it what it listens to.

    Args:
        image: what the network was shown, in any resolution; None for a grey field.
        field: of the layer.
        effective: measured at the position that is drawn.
        path: file to write; its suffix names the format.
        network: its name, for the title.

    Returns:
        The path written.
    """
    height, width = effective.heat.shape
    photo = _photo(image, height, width)
    (top, bottom), (left, right) = field.at(*effective.position)
    box = (top, bottom, left, right)
    panel = 4.4
    figure = style.new_figure(2 * panel + 1.1, panel * min(height / width, 1.4) + 0.95)
    seeing, listening = figure.subplots(1, 2)
    for axes in (seeing, listening):
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_visible(False)
    _draw_seen(seeing, photo, box, (height, width), effective.centre)
    mapped = _draw_heat(listening, photo, box, effective)
    bar = figure.colorbar(mapped, cax=listening.inset_axes((1.02, 0, 0.035, 1)))
    bar.set_ticks([0, 0.1, 0.25, 0.5, 0.75, 1], labels=["0", "10 %", "25 %", "50 %", "75 %", "100 %"])
    bar.set_label("influence, of the strongest pixel's", fontsize=style.TICK, color=style.INK)
    bar.ax.tick_params(labelsize=style.TICK, colors=style.MUTED, length=3)
    bar.outline.set_visible(False)
    style.headline(figure, _finding(field, box, (height, width), effective, network))
    return style.save(figure, path)


def pixels(size: Sequence[float]) -> str:
    """Return the size of a field as a person writes it, such as "147 × 147", or "everything"."""
    if all(not isfinite(side) for side in size):
        return "everything"
    return " × ".join(f"{side:g}" if isfinite(side) else "all" for side in size)


def _photo(image: Image | None, height: int, width: int) -> NDArray[np.float64]:
    """Return the photograph as `(h, w, 3)` in [0, 1]."""
    if image is None:
        return np.full((height, width, 3), 0.82)
    return np.asarray(image.convert("RGB"), np.float64) / 255


def _draw_seen(
    axes: Axes, photo: NDArray[np.float64], box: Box, size: tuple[int, int], centre: tuple[float, float]
) -> None:
    """Draw the photograph, faded outside of what is seen."""
    height, width = size
    frame = (-0.5, width - 0.5, height - 0.5, -0.5)
    top, bottom, left, right = _clipped(box, size)
    rows, columns = (np.linspace(-0.5, n - 0.5, m) for n, m in zip(size, photo.shape[:2], strict=True))
    inside = ((rows >= top) & (rows <= bottom))[:, None] & ((columns >= left) & (columns <= right))[None, :]
    faded = photo * (1 - VEIL) + VEIL
    axes.imshow(np.where(inside[..., None], photo, faded), extent=frame, interpolation="antialiased")
    _outline(axes, box, size, style.VERMILION, 2.2)
    axes.plot(centre[1], centre[0], "+", color="white", markersize=14, markeredgewidth=5)
    axes.plot(centre[1], centre[0], "+", color=style.BLUE, markersize=11, markeredgewidth=2.4)
    sizes = (box[1] - box[0] + 1, box[3] - box[2] + 1)
    clipped = _is_clipped(box, size)
    beyond = ", more than the image" if clipped and any(isfinite(side) for side in sizes) else ""
    axes.set_title(f"can see: {pixels(sizes)}{' pixels' if isfinite(sizes[0]) else ''}{beyond}", loc="left",
                   fontsize=style.LABEL + 1, color=style.INK)  # fmt: skip


def _draw_heat(axes: Axes, photo: NDArray[np.float64], box: Box, effective: EffectiveField) -> ScalarMappable:
    """Draw the heat over a pale grey photograph, with the squares that hold 50 % and 95 % of it."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm

    height, width = effective.heat.shape
    frame = (-0.5, width - 0.5, height - 0.5, -0.5)
    grey = photo @ np.array([0.299, 0.587, 0.114])
    axes.imshow(0.5 * grey + 0.14, extent=frame, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    heat = effective.heat / effective.heat.max()
    # The square root shows the faint flanks, which a linear scale would hide; the bar's ticks say so.
    norm = PowerNorm(0.5, 0, 1)
    mapped = ScalarMappable(norm, "inferno")
    shown = mapped.to_rgba(heat)
    shown[..., 3] = np.clip(1.6 * np.sqrt(heat), 0, 0.92)
    axes.imshow(shown, extent=frame, interpolation="nearest")
    _outline(axes, box, (height, width), style.VERMILION, 1.4)
    wide, narrow = (_square(effective.centre, side) for side in (effective.side95, effective.side50))
    for square in (wide, narrow):
        _outline(axes, square, (height, width), "white", 1.4)
    _label_squares(axes, effective, _clipped(wide, (height, width)), _clipped(narrow, (height, width)))
    axes.set_title(f"listens to: {_mean_of(effective.images)}", loc="left", fontsize=style.LABEL + 1, color=style.INK)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    return mapped


def _clipped(box: Box, size: tuple[int, int]) -> Box:
    """Return the edges of a square of pixels, moved into the image where they lie beyond it."""
    height, width = size
    top, bottom, left, right = box
    return max(top, 0) - 0.5, min(bottom, height - 1) + 0.5, max(left, 0) - 0.5, min(right, width - 1) + 0.5


def _is_clipped(box: Box, size: tuple[int, int]) -> bool:
    top, bottom, left, right = box
    return top < 0 or left < 0 or bottom > size[0] - 1 or right > size[1] - 1


def _outline(axes: Axes, box: Box, size: tuple[int, int], colour: str, width: float) -> None:
    """Draw the edges of a square; where it goes on beyond the image, dashed along the image's border."""
    top, bottom, left, right = _clipped(box, size)
    edges = (
        (box[0] >= 0, (left, right), (top, top)),
        (box[1] <= size[0] - 1, (left, right), (bottom, bottom)),
        (box[2] >= 0, (left, left), (top, bottom)),
        (box[3] <= size[1] - 1, (right, right), (top, bottom)),
    )
    for within, x, y in edges:
        axes.plot(x, y, color=colour, linewidth=width, linestyle="-" if within else (0, (4, 3)), clip_on=False)


def _square(centre: tuple[float, float], side: float) -> Box:
    """Return the first and last row and column of a square around `centre`."""
    half = (side - 1) / 2
    return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half


def _label_squares(axes: Axes, effective: EffectiveField, wide: Box, narrow: Box) -> None:
    """Write beside the squares what they hold: the wide one above, the narrow one within or, if small, below."""
    height, width = effective.heat.shape

    def write(text: str, x: float, y: float, *, above: bool) -> None:
        axes.annotate(
            text, (x, y), xytext=(2, 3 if above else -3), textcoords="offset points", va="bottom" if above else "top",
            fontsize=style.TICK, color="white", fontweight="bold",
        )  # fmt: skip

    write(f"95 %: {effective.side95:g} pixels a side", wide[2], wide[0], above=wide[0] > 0.07 * height)
    roomy = narrow[1] - narrow[0] > 0.08 * height and narrow[3] - narrow[2] > 0.2 * width
    lower = narrow[1] if wide[1] - narrow[1] > 0.08 * height else wide[1]
    write(f"50 %: {effective.side50:g}", narrow[2], narrow[0] if roomy else lower, above=False)


def _mean_of(images: int) -> str:
    return "the gradient" if images == 1 else f"the gradient, averaged over {images} images"


def _finding(field: ReceptiveField, box: Box, size: tuple[int, int], effective: EffectiveField, network: str) -> str:
    """Say what the two panels show."""
    who = f"{field.name} of {network}" if network else field.name
    sees = pixels((box[1] - box[0] + 1, box[3] - box[2] + 1))
    sees = sees if sees == "everything" else f"{sees} pixels"
    return f"{who} can see {sees} and listens to {pixels((effective.side95,) * 2)}"
