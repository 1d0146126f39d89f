"""What a recipe changes as training goes on: the learning rate and whatever else varies, over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from neocog.errors import UsageError
from neocog.visualize import style


class Schedule(NamedTuple):
    """A number over a run.

    Attributes:
        name: what it is, such as "learning rate".
        epochs: where it is given, ascending.
        values: what it is there, finite; above 0 where `logarithmic`.
        logarithmic: whether to draw it on a logarithmic axis.
    """

    name: str
    epochs: Sequence[float]
    values: Sequence[float]
    logarithmic: bool = False


def schedules(curves: Sequence[Schedule], path: str | Path, *, title: str, stages: Sequence[float] = ()) -> Path:
    """Draw schedules one above the other.

    Args:
        curves: at least one.
        path: file to write; its suffix names the format.
        title: what the figure shows.
        stages: epochs at which a new stage of training begins, to be marked.

    Returns:
        The path written.

    Raises:
        UsageError: no curve, one whose epochs and values are not as many, or a suffix of no picture.
        StorageError: the place cannot be written.
    """
    if not curves or any(len(curve.epochs) != len(curve.values) or not len(curve.values) for curve in curves):
        raise UsageError("a picture of schedules needs at least one curve, and for each of its epochs one value")
    figure = style.new_figure(8.0, 1.2 + 1.9 * len(curves))
    if Path(path).suffix.lower().lstrip(".") not in figure.canvas.get_supported_filetypes():
        raise UsageError(f"cannot draw {path}: name a picture, which ends in .png, .svg or .pdf")
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for panel, curve in zip(panels, curves, strict=True):
        panel.plot(curve.epochs, curve.values, color=style.BLUE, linewidth=1.8)
        scale = ""
        if curve.logarithmic:
            panel.set_yscale("log")
            panel.minorticks_off()
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            scale = " (logarithmic)"
        else:
            low, high = min(0.0, *curve.values), max(curve.values)
            panel.set_ylim(low, high + 0.06 * (high - low or 1.0))
        for epoch in stages:
            panel.axvline(epoch, color=style.VERMILION, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        style.dress(panel, title=style.plain(f"{curve.name}{scale}"))
        panel.set_xlim(0, max(curve.epochs[-1], 1e-9))
    panels[-1].set_xlabel("epoch", fontsize=style.LABEL, color=style.INK)
    style.headline(figure, style.plain(title))
    return style.save(figure, path)
