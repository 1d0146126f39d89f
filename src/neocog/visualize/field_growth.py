"""How receptive fields grow with depth: a curve over a network's layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neocog.visualize import style
from neocog.visualize.receptive_field import pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from neocog.analysis.receptive_field import Fields, ReceptiveField

MOST_LABELS = 16


def growth(fields: Fields, path: str | Path, *, image: Sequence[int] = (), network: str = "") -> Path:
    """Draw how the receptive field grows from layer to layer.

    The line is the size along all paths but those through gates, attention or global pooling, which see everything
    and are marked along the upper edge; the band reaches down to the path that sees least. Layers that change nothing
    are left out.

    Args:
        fields: of a network's layers, blocks or stages.
        path: file to write; its suffix names the format.
        image: the shape of an input, `(C, H, W)`: a line marks where fields outgrow it.
        network: its name, for the title.

    Returns:
        The path written.
    """
    rows, beside = _changing(fields.rows)
    if not rows:
        return style.message_figure("No layer of this network looks at the image: there is nothing to draw.", path)
    sizes, least = (np.array([max(getattr(row, name)) for row in rows]) for name in ("local", "smallest"))
    bounded = np.isfinite(sizes)
    steps = np.arange(1, len(rows) + 1)
    side = max(image[-2:], default=0)
    top = max([float(side), *sizes[bounded], *least[np.isfinite(least)]], default=1.0) * 1.12
    figure = style.new_figure(9.5, 5.0)
    axes = figure.subplots()
    _band(axes, steps[bounded], least[bounded], sizes[bounded])
    axes.plot(
        steps[bounded], sizes[bounded], color=style.BLUE, linewidth=1.8, marker="o", markersize=4, label="all paths"
    )
    if beside:
        places, small = zip(*beside, strict=True)
        axes.plot(
            places, small, "o", color=style.MUTED, markersize=3.5, markerfacecolor="white", label="on a shorter branch"
        )
    _mark_global(axes, [place for place, row in enumerate(rows, start=1) if row.is_global], top)
    if side:
        axes.axhline(side, color=style.VERMILION, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            f"the image: {side} pixels", (0.005, side), xycoords=("axes fraction", "data"), xytext=(0, 3),
            textcoords="offset points", fontsize=style.TICK, color=style.VERMILION,
        )  # fmt: skip
    axes.set_ylim(0, top)
    axes.set_xlim(0.4, len(rows) + 0.6)
    _name_layers(axes, [row.name for row in rows])
    style.dress(axes, y="receptive field, pixels a side")
    axes.legend(fontsize=style.TICK, frameon=False, labelcolor=style.INK, loc="upper left", bbox_to_anchor=(0, 0.93))
    style.headline(figure, _growth_finding(rows, sizes, side, network))
    return style.save(figure, path)


def _changing(rows: Sequence[ReceptiveField]) -> tuple[list[ReceptiveField], list[tuple[float, float]]]:
    """Return the rows of the curve, and the places and sizes of those beside it.

    A layer on a short branch sees less than one before it. It stands beside the curve, which never falls.
    """
    curve: list[ReceptiveField] = []
    beside: list[tuple[float, float]] = []
    reached = 0.0
    for row in rows:
        size = max(row.local)
        if size < reached:
            if isfinite(reached):
                beside.append((len(curve) + 0.5, size))
        elif not curve or _sees(row) != _sees(curve[-1]):
            curve.append(row)
        # A gate sees everything, and what it is applied to goes on from where it was.
        reached = max(reached, size) if isfinite(size) else reached
    return curve, beside


def _sees(row: ReceptiveField) -> tuple[object, ...]:
    return row.local, row.smallest, row.is_global


def _band(axes: Axes, steps: NDArray[np.int64], least: NDArray[np.float64], most: NDArray[np.float64]) -> None:
    if np.allclose(least, most):  # one path only
        return
    axes.fill_between(
        steps, least, most, color=style.SKY, alpha=0.3, linewidth=0, label="down to the path that sees least"
    )
    axes.plot(steps, least, color=style.SKY, linewidth=1.2)


def _mark_global(axes: Axes, steps: Sequence[int], top: float) -> None:
    """Mark the layers that see everything along the upper edge."""
    if steps:
        axes.plot(
            steps,
            [0.965 * top] * len(steps),
            "^",
            color=style.GREEN,
            markersize=6,
            label="global: some path sees everything",
        )


def _name_layers(axes: Axes, names: Sequence[str]) -> None:
    """Name groups of layers along the axis, as deep as there is room for."""
    chosen: list[tuple[int, str]] = []
    for depth in range(1, 1 + max(name.count(".") + 1 for name in names)):
        groups = [".".join(name.split(".")[:depth]) for name in names]
        starts = [(place, name) for place, name in enumerate(groups) if place == 0 or groups[place - 1] != name]
        if chosen and len(starts) > MOST_LABELS:
            break
        chosen = starts
    apart: list[tuple[int, str]] = []
    for place, name in chosen:
        if not apart or place - apart[-1][0] >= len(names) / (1.5 * MOST_LABELS):
            apart.append((place, name))
    labels = [style.plain(style.shorten(name, 24)) for _, name in apart]
    axes.set_xticks([place + 1 for place, _ in apart], labels, rotation=40, ha="right", rotation_mode="anchor")


def _growth_finding(rows: Sequence[ReceptiveField], sizes: NDArray[np.float64], side: int, network: str) -> str:
    """Say how far the field grows, and where it outgrows the image."""
    who = f"{network}: " if network else ""
    bounded = [place for place, size in enumerate(sizes) if isfinite(size)]
    if not bounded:
        return f"{who}every layer sees the whole image"
    last = bounded[-1]
    finding = f"{who}the receptive field grows to {pixels(rows[last].local)} pixels at {rows[last].name}"
    outgrown = [place for place in bounded if side and sizes[place] > side]
    first = next((place for place, row in enumerate(rows) if row.is_global), len(rows))
    if first < last:
        return f"{finding}, beside paths that see everything from {rows[first].name} on"
    return f"{finding}, and is larger than the image from {rows[outgrown[0]].name} on" if outgrown else finding
