"""Curves over a run: losses, accuracy and learning rate by epoch, and the learning-rate range test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neocog.errors import UsageError
from neocog.visualize import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Column = NDArray[np.float64]
SCORES = {"top1": "accuracy", "mean_average_precision": "mean average precision"}


def training_curves(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draw loss, accuracy and learning rate by epoch, the best epoch marked.

    Args:
        rows: one mapping an epoch, as `csv.DictReader` or a run gives them: `epoch`, `lr`, `train_loss`,
            `val_loss`, `train_top1`, `val_top1`, or `val_mean_average_precision` where images have several
            labels. Any may be missing, empty or not finite; accuracies are shares in [0, 1].
        path: file to write; its suffix names the format.

    Returns:
        The path written.
    """
    parts = ("loss", *SCORES)
    names = ["epoch", "lr", *(f"{split}_{part}" for split in ("train", "val") for part in parts)]
    table = {name: _column(rows, name) for name in names}
    score = next((part for part in SCORES if np.isfinite(table[f"val_{part}"]).any()), "top1")
    panels = {
        "loss": ("train_loss", "val_loss"),
        "score": (f"train_{score}", f"val_{score}"),
        "lr": ("lr",),
    }
    upper = [name for name in ("loss", "score") if any(np.isfinite(table[c]).any() for c in panels[name])]
    if not upper:
        return style.message_figure("No epoch has been finished yet: there are no curves to draw.", path)
    epochs = np.where(np.isfinite(table["epoch"]), table["epoch"], np.arange(1, len(rows) + 1))
    with_lr = bool(np.isfinite(table["lr"]).any())
    figure = style.new_figure(9.5, 6.0 if with_lr else 4.6)
    layout: list[Any] = [upper, ["lr"] * len(upper)] if with_lr else [upper]
    axes = figure.subplot_mosaic(layout, height_ratios=[3, 1] if with_lr else [1], sharex=True)
    best = _best_row(table, f"val_{score}")

    for name in upper:
        for column, label, colour in zip(
            panels[name], ("training", "validation"), (style.SKY, style.BLUE), strict=True
        ):
            _line(axes[name], epochs, table[column], label, colour)
        axes[name].tick_params(labelbottom=True)
        axes[name].legend(fontsize=style.TICK, frameon=False, labelcolor=style.INK)
    if "loss" in upper:
        scale = _loss_scale(axes["loss"], np.concatenate([table[c] for c in panels["loss"]]))
        style.dress(axes["loss"], title=f"loss{scale}", x="epoch")
    if "score" in upper:
        style.dress(axes["score"], title=SCORES[score], x="epoch")
        style.as_percent(axes["score"].yaxis)
        _widen(axes["score"], 0.02)
    if with_lr:
        _line(axes["lr"], epochs, table["lr"], "learning rate", style.MUTED)
        style.dress(axes["lr"], title="learning rate", x="epoch")
    for panel in axes.values():
        _whole_epochs(panel, epochs)
        if best is not None:
            panel.axvline(float(epochs[best]), color=style.VERMILION, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    if best is not None:
        marked = next(c for c in (f"val_{score}", "val_loss") if np.isfinite(table[c]).any())
        panel = axes["score" if marked != "val_loss" else "loss"]
        panel.plot(epochs[best], table[marked][best], "o", color=style.VERMILION, markersize=7, zorder=4)
    style.headline(figure, _finding(table, epochs, best, score))
    return style.save(figure, path)


def range_test(lrs: ArrayLike, losses: ArrayLike, suggestion: float | None, path: str | Path) -> Path:
    """Draw a learning-rate range test (Smith 2017): the loss while the rate grows geometrically.

    Args:
        lrs: rates `(N,)`, positive and growing.
        losses: the loss at each `(N,)`; what is not finite is left out.
        suggestion: the rate to train with, or None where the loss never fell.
        path: file to write.

    Raises:
        UsageError: not one loss a rate.
    """
    rates, values = np.asarray(lrs, np.float64), np.asarray(losses, np.float64)
    if rates.shape != values.shape or rates.ndim != 1:
        raise UsageError(f"a range test needs one loss a rate, not {rates.shape} rates and {values.shape} losses")
    finite = np.isfinite(values) & (rates > 0)
    rates, values = rates[finite], values[finite]
    if len(rates) < 2:
        return style.message_figure("The range test gave fewer than two finite losses: nothing to draw.", path)
    figure = style.new_figure(8.0, 4.6)
    axes = figure.subplots()
    axes.plot(rates, values, color=style.BLUE, linewidth=1.8)
    axes.set_xscale("log")
    axes.set_xlim(rates.min(), rates.max())
    # The loss explodes at the end; what matters is the fall before it.
    low, start = values.min(), float(np.median(values[: max(1, len(values) // 10)]))
    margin = max(start - low, 1e-3 * abs(start), 1e-9)
    axes.set_ylim(low - 0.15 * margin, start + 0.6 * margin)
    style.dress(axes, x="learning rate", y="training loss")
    if suggestion is None:
        style.headline(figure, "The loss never fell: no learning rate can be suggested")
    else:
        axes.axvline(suggestion, color=style.VERMILION, linewidth=1.4, linestyle=(0, (4, 3)))
        at = float(np.interp(np.log(suggestion), np.log(rates), values))
        axes.plot(suggestion, at, "o", color=style.VERMILION, markersize=7, zorder=4)
        style.headline(figure, f"Suggested learning rate: {suggestion:.2g}")
    return style.save(figure, path)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Column:
    return np.array([_number(row.get(name)) for row in rows], np.float64)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return float("nan")
    return number if np.isfinite(number) else float("nan")


def _best_row(table: Mapping[str, Column], score: str) -> int | None:
    if np.isfinite(table[score]).any():
        return int(np.nanargmax(table[score]))
    if np.isfinite(table["val_loss"]).any():
        return int(np.nanargmin(table["val_loss"]))
    return None


def _line(axes: Axes, x: Column, y: Column, label: str, colour: str) -> None:
    shown = np.isfinite(y)
    if shown.any():
        marker = "o" if shown.sum() <= 30 else None
        axes.plot(x[shown], y[shown], color=colour, linewidth=1.8, marker=marker, markersize=3.5, label=label)


def _loss_scale(axes: Axes, losses: Column) -> str:
    """Choose a logarithmic axis where the loss falls far, and return the words for it."""
    losses = losses[np.isfinite(losses)]
    if losses.min() > 0 and losses.max() > 30 * losses.min():
        from matplotlib.ticker import LogLocator

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda loss, _: f"{loss:g}")
        axes.yaxis.set_minor_formatter(lambda loss, _: "")
        return " (logarithmic)"
    return ""


def _widen(axes: Axes, least: float) -> None:
    """Let the vertical axis span at least `least`, so that noise does not look like progress."""
    low, high = axes.get_ylim()
    if high - low < least:
        middle = (low + high) / 2
        axes.set_ylim(middle - least / 2, middle + least / 2)


def _whole_epochs(axes: Axes, epochs: Column) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    spread = max(epochs.max() - epochs.min(), 1.0)
    axes.set_xlim(epochs.min() - 0.03 * spread, epochs.max() + 0.03 * spread)


def _finding(table: Mapping[str, Column], epochs: Column, best: int | None, score: str) -> str:
    last = f"{epochs[-1]:g}"
    if best is not None and np.isfinite(table[f"val_{score}"]).any():
        value = style.percent(float(table[f"val_{score}"][best]))
        return f"Best validation {SCORES[score]}: {value} at epoch {epochs[best]:g} of {last}"
    if best is not None:
        return f"Lowest validation loss: {table['val_loss'][best]:.4g} at epoch {epochs[best]:g} of {last}"
    losses = table["train_loss"][np.isfinite(table["train_loss"])]
    if len(losses):
        return f"Training loss: {losses[0]:.4g} at first, {losses[-1]:.4g} after epoch {last}"
    return f"Training accuracy up to epoch {last}"
